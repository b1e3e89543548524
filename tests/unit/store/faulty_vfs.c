#include "faulty_vfs.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static sqlite3_vfs faulty, *real;
static atomic_int writes, reads_fail;
static atomic_uint held;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool shut;

struct file {
    sqlite3_file base;
    sqlite3_file *inner; /* lies behind */
};

static sqlite3_file *inner(sqlite3_file *f)
{
    return ((struct file *)f)->inner;
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate);
    while (shut) {
        atomic_fetch_add(&held, 1);
        (void)pthread_cond_wait(&opened, &gate);
        atomic_fetch_sub(&held, 1);
    }
    pthread_mutex_unlock(&gate);
}

static int write_fault(void)
{
    switch (atomic_load(&writes)) {
    case WRITES_FIND_NO_ROOM:
        errno = ENOSPC;
        return SQLITE_FULL;
    case WRITES_FAIL:
        errno = EIO;
        return SQLITE_IOERR_WRITE;
    default:
        return SQLITE_OK;
    }
}

static int f_close(sqlite3_file *f)
{
    return inner(f)->pMethods ? inner(f)->pMethods->xClose(inner(f)) : SQLITE_OK;
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    wait_at_gate();
    if (atomic_load(&reads_fail))
        return SQLITE_IOERR_READ;
    return inner(f)->pMethods->xRead(inner(f), to, n, at);
}

static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    int fault = write_fault();

    return fault ? fault : inner(f)->pMethods->xWrite(inner(f), from, n, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return inner(f)->pMethods->xTruncate(inner(f), n);
}

static int f_sync(sqlite3_file *f, int flags)
{
    return inner(f)->pMethods->xSync(inner(f), flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return inner(f)->pMethods->xFileSize(inner(f), out);
}

static int f_lock(sqlite3_file *f, int how)
{
    return inner(f)->pMethods->xLock(inner(f), how);
}

static int f_unlock(sqlite3_file *f, int how)
{
    return inner(f)->pMethods->xUnlock(inner(f), how);
}

static int f_check_lock(sqlite3_file *f, int *out)
{
    return inner(f)->pMethods->xCheckReservedLock(inner(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
    if (op == SQLITE_FCNTL_SIZE_HINT && write_fault())
        return write_fault();
    return inner(f)->pMethods->xFileControl(inner(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
    return inner(f)->pMethods->xSectorSize(inner(f));
}

static int f_device(sqlite3_file *f)
{
    return inner(f)->pMethods->xDeviceCharacteristics(inner(f));
}

static int f_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out)
{
    return inner(f)->pMethods->xShmMap(inner(f), page, bytes, extend, out);
}

static int f_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return inner(f)->pMethods->xShmLock(inner(f), at, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
    inner(f)->pMethods->xShmBarrier(inner(f));
}

static int f_shm_unmap(sqlite3_file *f, int remove)
{
    return inner(f)->pMethods->xShmUnmap(inner(f), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_check_lock,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static int v_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags)
{
    struct file *file = (struct file *)f;
    int rc;

    (void)v;
    file->inner = (sqlite3_file *)(void *)(file + 1);
    file->inner->pMethods = NULL;
    rc = real->xOpen(real, name, file->inner, flags, out_flags);
    file->base.pMethods = rc == SQLITE_OK ? &methods : NULL;
    return rc;
}

void faulty_vfs_install(void)
{
    real = sqlite3_vfs_find(NULL);
    faulty = *real; /* what takes no file goes straight to it */
    faulty.zName = "faulty";
    faulty.szOsFile = real->szOsFile + (int)sizeof(struct file);
    faulty.xOpen = v_open;
    (void)sqlite3_vfs_register(&faulty, 1);
}

void faulty_vfs_hold_reads(void)
{
    pthread_mutex_lock(&gate);
    shut = true;
    pthread_mutex_unlock(&gate);
}

unsigned faulty_vfs_held(void)
{
    return atomic_load(&held);
}

void faulty_vfs_let_go(void)
{
    pthread_mutex_lock(&gate);
    shut = false;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&gate);
}

void faulty_vfs_writes(enum faulty_write how)
{
    atomic_store(&writes, how);
}

void faulty_vfs_fail_reads(int yes)
{
    atomic_store(&reads_fail, yes);
}
