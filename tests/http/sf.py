"""Structured fields (RFC 9651), read strictly: enough for Cache-Status, and for nothing that is not well-formed."""

import re

TOKEN = re.compile(r"[A-Za-z*][-!#$%&'*+.^_`|~0-9A-Za-z:/]*")
KEY = re.compile(r"[a-z*][-_.*a-z0-9]*")
NUMBER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
BOOLEAN = re.compile(r"\?[01]")


class Malformed(AssertionError):
    pass


class Token(str):
    """A token, as opposed to a string."""


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def skip(self, characters):
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def bare_item(self):
        if match := self.take(STRING):
            return re.sub(r"\\(.)", r"\1", match[1])
        if match := self.take(BOOLEAN):
            return match[0] == "?1"
        if match := self.take(NUMBER):
            return int(match[0])
        if match := self.take(TOKEN):
            return Token(match[0])
        raise Malformed(f"no item at {self.text[self.at:]!r} of {self.text!r}")

    def parameters(self):
        found = {}
        while self.at < len(self.text) and self.text[self.at] == ";":
            self.at += 1
            self.skip(" ")
            key = self.take(KEY)
            if not key:
                raise Malformed(f"no key at {self.text[self.at:]!r} of {self.text!r}")
            if key[0] in found:
                raise Malformed(f"{key[0]} is given twice in {self.text!r}")
            found[key[0]] = True
            if self.at < len(self.text) and self.text[self.at] == "=":
                self.at += 1
                found[key[0]] = self.bare_item()
        return found


def parse_list(text):
    """[(item, {parameter: value})] of a field's combined value."""
    reader, members = Reader(text), []
    reader.skip(" ")
    while reader.at < len(reader.text):
        members.append((reader.bare_item(), reader.parameters()))
        reader.skip(" \t")
        if reader.at == len(reader.text):
            break
        if reader.text[reader.at] != ",":
            raise Malformed(f"expected a comma at {reader.text[reader.at:]!r} of {reader.text!r}")
        reader.at += 1
        reader.skip(" \t")
        if reader.at == len(reader.text):
            raise Malformed(f"{text!r} ends in a comma")
    return members
