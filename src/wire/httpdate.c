#include "refrain/wire/httpdate.h"

#include <stdio.h>

#include "refrain/base/attr.h"

enum { DAY_S = 24 * 3600 };

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun",
                                "Mon", "Tue", "Wed"}; /* the epoch was a Thursday */

struct date {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second;
};

/* The calendar is counted in eras of 400 years that begin on the 1st of March: so the leap day comes last in
 * its year, and every month's length is a matter of its number alone. */

static const int64_t era_days = 146097;  /* 400 years */
static const int64_t epoch_day = 719468; /* 1970-01-01, from 0000-03-01 */

static int64_t day_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * era_days + day_of_era - epoch_day;
}

static struct date date_of(int64_t s)
{
    int64_t since = (s >= 0 ? s : s - (DAY_S - 1)) / DAY_S; /* days since the epoch, rounded down */
    unsigned second = (unsigned)(s - since * DAY_S);
    int64_t at = since + epoch_day;
    int64_t era = (at >= 0 ? at : at - (era_days - 1)) / era_days;
    int64_t day_of_era = at - era * era_days;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* from March */
    struct date d = {
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1),
        .hour = second / 3600,
        .minute = second / 60 % 60,
        .second = second % 60,
    };

    d.year = era * 400 + year_of_era + (d.month <= 2 ? 1 : 0);
    return d;
}

void httpdate_write(int64_t s, char out[HTTPDATE_LEN + 1])
{
    int64_t first = day_of(1, 1, 1) * DAY_S, last = day_of(10000, 1, 1) * DAY_S - 1;
    int64_t since;
    struct date d;

    s = s < first ? first : s > last ? last : s;
    d = date_of(s);
    since = (s >= 0 ? s : s - (DAY_S - 1)) / DAY_S;
    (void)snprintf(out, HTTPDATE_LEN + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[(since % 7 + 7) % 7],
                   d.day % 100, months[d.month - 1], (unsigned)d.year % 10000, d.hour % 100, d.minute % 100,
                   d.second % 100);
}

/* --- reading --- */

static bool take_text(struct slice *rest, struct slice text)
{
    if (rest->len < text.len || !slice_ieq(slice_make(rest->data, text.len), text))
        return false;
    *rest = slice_skip(*rest, text.len);
    return true;
}

/* Exactly @digits of them. */
static bool take_number(struct slice *rest, unsigned digits, unsigned *out)
{
    unsigned n = 0;

    if (rest->len < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        if (rest->data[i] < '0' || rest->data[i] > '9')
            return false;
        n = n * 10 + (unsigned)(rest->data[i] - '0');
    }
    *rest = slice_skip(*rest, digits);
    *out = n;
    return true;
}

static bool take_month(struct slice *rest, struct date *d)
{
    for (unsigned i = 0; i < ARRAY_LEN(months); i++) {
        if (take_text(rest, slice_str(months[i]))) {
            d->month = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_time(struct slice *rest, struct date *d)
{
    return take_number(rest, 2, &d->hour) && take_text(rest, SLICE_OF(":")) &&
           take_number(rest, 2, &d->minute) && take_text(rest, SLICE_OF(":")) &&
           take_number(rest, 2, &d->second);
}

static bool take_year(struct slice *rest, struct date *d)
{
    unsigned year;

    if (!take_number(rest, 4, &year))
        return false;
    d->year = year;
    return true;
}

/* "Sun, " and then "06 Nov 1994 08:49:37 GMT". */
static bool take_imf(struct slice rest, struct date *d)
{
    return take_number(&rest, 2, &d->day) && take_text(&rest, SLICE_OF(" ")) && take_month(&rest, d) &&
           take_text(&rest, SLICE_OF(" ")) && take_year(&rest, d) && take_text(&rest, SLICE_OF(" ")) &&
           take_time(&rest, d) && take_text(&rest, SLICE_OF(" GMT")) && rest.len == 0;
}

/* "Sunday, " and then "06-Nov-94 08:49:37 GMT". */
static bool take_rfc850(struct slice rest, int64_t now_s, struct date *d)
{
    int64_t this_year = date_of(now_s).year;
    unsigned year;

    if (!take_number(&rest, 2, &d->day) || !take_text(&rest, SLICE_OF("-")) || !take_month(&rest, d) ||
        !take_text(&rest, SLICE_OF("-")) || !take_number(&rest, 2, &year))
        return false;
    d->year = this_year - this_year % 100 + year;
    if (d->year > this_year + 50)
        d->year -= 100;
    else if (d->year <= this_year - 50)
        d->year += 100;
    return take_text(&rest, SLICE_OF(" ")) && take_time(&rest, d) && take_text(&rest, SLICE_OF(" GMT")) &&
           rest.len == 0;
}

/* "Sun " and then "Nov  6 08:49:37 1994". */
static bool take_asctime(struct slice rest, struct date *d)
{
    if (!take_month(&rest, d) || !take_text(&rest, SLICE_OF(" ")))
        return false;
    if (take_text(&rest, SLICE_OF(" "))) {
        if (!take_number(&rest, 1, &d->day))
            return false;
    } else if (!take_number(&rest, 2, &d->day)) {
        return false;
    }
    return take_text(&rest, SLICE_OF(" ")) && take_time(&rest, d) && take_text(&rest, SLICE_OF(" ")) &&
           take_year(&rest, d) && rest.len == 0;
}

/* The name of the day picks the form: "Sun, ", "Sunday, " or "Sun ". */
static bool take_any(struct slice text, int64_t now_s, struct date *d)
{
    static const struct slice longs[] = {
        SLICE("Monday, "), SLICE("Tuesday, "),  SLICE("Wednesday, "), SLICE("Thursday, "),
        SLICE("Friday, "), SLICE("Saturday, "), SLICE("Sunday, "),
    };

    for (size_t i = 0; i < ARRAY_LEN(longs); i++)
        if (take_text(&text, longs[i]))
            return take_rfc850(text, now_s, d);
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        if (!take_text(&text, slice_str(days[i])))
            continue;
        if (take_text(&text, SLICE_OF(", ")))
            return take_imf(text, d);
        return take_text(&text, SLICE_OF(" ")) && take_asctime(text, d);
    }
    return false;
}

static bool date_ok(const struct date *d)
{
    static const unsigned lengths[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);

    if (d->year < 1 || d->day < 1 || d->day > lengths[d->month - 1] ||
        (d->month == 2 && d->day == 29 && !leap))
        return false;
    return d->hour < 24 && d->minute < 60 && d->second <= 60;
}

bool httpdate_parse(struct slice text, int64_t now_s, int64_t *out_s)
{
    struct date d = {0};

    if (!take_any(slice_trim(text), now_s, &d) || !date_ok(&d))
        return false;
    if (d.second == 60)
        d.second = 59;
    *out_s = day_of(d.year, d.month, d.day) * DAY_S + (int64_t)(d.hour * 3600 + d.minute * 60 + d.second);
    return true;
}
