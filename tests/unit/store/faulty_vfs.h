/*
 * faulty_vfs - the file system as SQLite sees it, going wrong as a test says: reads that hang, writes for
 * which there is no room, or which fail. For all files of the process; one test at a time.
 */
#pragma once

enum faulty_write { WRITES_WORK, WRITES_FIND_NO_ROOM, WRITES_FAIL };

/** Becomes what SQLite uses; once. */
void faulty_vfs_install(void);
/** Every read waits until faulty_vfs_let_go. */
void faulty_vfs_hold_reads(void);
/** How many reads wait. */
unsigned faulty_vfs_held(void);
void faulty_vfs_let_go(void);
void faulty_vfs_writes(enum faulty_write how);
void faulty_vfs_fail_reads(int yes);
