/* futex(2): waits, wakes, requeues, robust lists, time-outs. */
#define FAMILY "futexes"
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

static long futex(volatile void *word, int op, uint32_t value, const void *timeout, volatile void *second, uint32_t last)
{
    return syscall(SYS_futex, word, op, value, timeout, second, last);
}

static _Atomic uint32_t word, second;
static void *waits(void *arg) { return (void *)futex(&word, FUTEX_WAIT_PRIVATE, 0, arg, NULL, 0); }

static void wait_asleep(int threads)
{
    for (int i = 0; i < 2000; i++) {
        int asleep = 0;
        DIR *d = opendir("/proc/self/task");
        struct dirent *e;
        while ((e = readdir(d)))
            if (e->d_name[0] != '.' && atoi(e->d_name) != getpid()) asleep += state_of(atoi(e->d_name)) == 'S';
        closedir(d);
        if (asleep >= threads) return;
        usleep(1000);
    }
}

CASE(errors)
{
    struct timespec ms = {0, 5000000}, bad = {0, 1000000000};
    ERR("another value", futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
    ERR("a time out", futex(&word, FUTEX_WAIT, 0, &ms, NULL, 0), ETIMEDOUT);
    ERR("a bad time", futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0), EINVAL);
    ERR("an odd address", futex((char *)&word + 1, FUTEX_WAIT, 0, NULL, NULL, 0), EINVAL);
    ERR("nowhere", futex((void *)8, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    ERR("an unknown operation", futex(&word, 100, 0, NULL, NULL, 0), ENOSYS);
    ERR("no bits", futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0), EINVAL);
    EQ("waking nobody", futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
    ERR("requeue with another value", futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &second, 1), EAGAIN);
    struct timespec past = {1, 0};
    ERR("an absolute time that is over", futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, ~0U), ETIMEDOUT);
    ERR("a relative wait with the realtime clock", futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0), ENOSYS);
}

CASE(waking)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, waits, NULL);
    wait_asleep(3);
    EQ("two of three", futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    EQ("the third", futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 1);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, waits, NULL);
    wait_asleep(3);
    EQ("one woken, two requeued", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, 0), 3);
    EQ("none is left here", futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0);
    EQ("they are there", futex(&second, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 2);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    pthread_create(&t[0], NULL, waits, NULL);
    wait_asleep(1);
    EQ("WAKE_OP sets and compares", futex(&second, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)), 1);
    EQ("the new value", word, 5);
    pthread_join(t[0], NULL);
    word = 0;
}

CASE(between_processes)
{
    _Atomic uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = CHILD({ _exit(futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    EQ("woken", futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
    EQ("it was", WEXITSTATUS(wait_status(child)), 0);
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    ftruncate(fd, 4096);
    _Atomic uint32_t *here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    _Atomic uint32_t *there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    child = CHILD({ _exit(futex(here, FUTEX_WAIT, 0, NULL, NULL, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    EQ("by another mapping of the same file", futex(there, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
    wait_status(child);
}

static pthread_mutex_t mutex;
static void *dies_with_it(void *arg) { (void)arg; pthread_mutex_lock(&mutex); return NULL; }

CASE(robust_mutexes)
{
    pthread_mutexattr_t attr;
    pthread_t t;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attr);
    pthread_create(&t, NULL, dies_with_it, NULL);
    pthread_join(t, NULL);
    EQ("the owner died", pthread_mutex_lock(&mutex), EOWNERDEAD);
    EQ("made consistent", pthread_mutex_consistent(&mutex), 0);
    EQ("unlocked", pthread_mutex_unlock(&mutex), 0);
    EQ("good again", pthread_mutex_lock(&mutex), 0);
    pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(shared, &attr);
    pid_t child = CHILD({ pthread_mutex_lock(shared); for (;;) pause(); });
    wait_for_state(child, 'S');
    kill(child, SIGKILL);
    EQ("a process that was killed", pthread_mutex_lock(shared), EOWNERDEAD);
    wait_status(child);
    void *head;
    size_t len;
    EQ("get_robust_list", syscall(SYS_get_robust_list, 0, &head, &len), 0);
    EQ("its length", len, 24);
    ERR("set with another length", syscall(SYS_set_robust_list, head, 8), EINVAL);
}

static pthread_mutex_t pi;
static void *locks_it(void *arg) { (void)arg; pthread_mutex_lock(&pi); pthread_mutex_unlock(&pi); return NULL; }

CASE(owned_locks)
{
    pthread_mutexattr_t attr;
    pthread_t t;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    EQ("a mutex with priority inheritance", pthread_mutex_init(&pi, &attr), 0);
    EQ("lock", pthread_mutex_lock(&pi), 0);
    EQ("try again", pthread_mutex_trylock(&pi), EBUSY);
    pthread_create(&t, NULL, locks_it, NULL);
    wait_asleep(1);
    EQ("unlock", pthread_mutex_unlock(&pi), 0);
    EQ("the other one got it", pthread_join(t, NULL), 0);
    EQ("and gave it back", pthread_mutex_lock(&pi), 0);
    pthread_mutex_unlock(&pi);
    word = 0;
    EQ("LOCK_PI", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
    EQ("the owner is in the word", word, syscall(SYS_gettid));
    ERR("the owner again", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
    EQ("UNLOCK_PI", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
    EQ("free", word, 0);
    ERR("not the owner", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EPERM);
    word = 999999;
    ERR("an owner that is not there", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), ESRCH);
    word = 0;
}
