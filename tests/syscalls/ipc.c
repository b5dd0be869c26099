/* sysvipc(7): shared memory, semaphores, message queues. */
#define FAMILY "ipc"
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void nothing(int signal) { (void)signal; }

CASE(shared_memory)
{
    struct shmid_ds ds;
    int id = MUST(shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600));
    char *a = shmat(id, NULL, 0);
    CHECK("attach", a != (void *)-1);
    EQ("zero", a[4999], 0);
    a[0] = 'x';
    EQ("a child has it", EXIT_OF(_exit(a[0] == 'x' && (a[1] = 'y') ? 0 : 1)), 0);
    EQ("and writes to it", a[1], 'y');
    EQ("stat", shmctl(id, IPC_STAT, &ds), 0);
    EQ("size", ds.shm_segsz, 5000);
    EQ("attached", ds.shm_nattch, 1);
    char *b = shmat(id, NULL, SHM_RDONLY);
    EQ("twice", (shmctl(id, IPC_STAT, &ds), ds.shm_nattch), 2);
    EQ("read", b[0], 'x');
    EQ("remove", shmctl(id, IPC_RMID, NULL), 0);
    EQ("still there", a[0], 'x');
    EQ("detach", shmdt(b), 0);
    ERR("detach again", shmdt(b), EINVAL);
    EQ("the last", shmdt(a), 0);
    ERR("gone", shmctl(id, IPC_STAT, &ds), EINVAL);
    key_t key = 0x5ca11 + getpid();
    ERR("no such key", shmget(key, 100, 0600), ENOENT);
    id = MUST(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600));
    EQ("by key", shmget(key, 100, 0), id);
    ERR("EXCL", shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    ERR("larger than it is", shmget(key, 5000, 0), EINVAL);
    ERR("no size", shmget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
    if (geteuid() == 0) EQ("another user", EXIT_OF({ drop_to(1000); _exit(shmat(id, NULL, 0) == (void *)-1 ? errno : 0); }), EACCES);
    shmctl(id, IPC_RMID, NULL);
}

static int operate(int id, int number, int by, int flags)
{
    struct sembuf op = {number, by, flags};
    return semop(id, &op, 1);
}

CASE(semaphores)
{
    union { int val; struct semid_ds *buf; unsigned short *array; } arg;
    struct semid_ds ds;
    unsigned short values[3] = {1, 2, 3}, got[3];
    NEEDS(semget(IPC_PRIVATE, 1, 0600));
    int id = MUST(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
    EQ("they start at 0", semctl(id, 0, GETVAL), 0);
    arg.array = values;
    EQ("SETALL", semctl(id, 0, SETALL, arg), 0);
    arg.array = got;
    EQ("GETALL", (semctl(id, 0, GETALL, arg), got[0] + got[1] * 10 + got[2] * 100), 321);
    arg.val = 5;
    EQ("SETVAL", semctl(id, 1, SETVAL, arg), 0);
    EQ("GETVAL", semctl(id, 1, GETVAL), 5);
    ERR("no such semaphore", semctl(id, 3, GETVAL), EINVAL);
    arg.val = 40000;
    ERR("too large a value", semctl(id, 1, SETVAL, arg), ERANGE);
    EQ("down", operate(id, 1, -5, 0), 0);
    ERR("not below 0", operate(id, 1, -1, IPC_NOWAIT), EAGAIN);
    EQ("up", operate(id, 1, 2, 0), 0);
    ERR("is not 0", operate(id, 1, 0, IPC_NOWAIT), EAGAIN);
    ERR("no such semaphore", operate(id, 3, 1, 0), EFBIG);
    ERR("no operations", semop(id, NULL, 0), EINVAL);
    struct sembuf two[2] = {{0, -1, IPC_NOWAIT}, {1, -9, IPC_NOWAIT}};
    ERR("all or nothing", semop(id, two, 2), EAGAIN);
    EQ("nothing was done", semctl(id, 0, GETVAL), 1);
    EQ("GETPID", semctl(id, 1, GETPID), getpid());
    pid_t child = CHILD({ _exit(operate(id, 2, -10, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    EQ("GETNCNT", semctl(id, 2, GETNCNT), 1);
    operate(id, 2, 7, 0);
    EQ("a waiter goes on", WEXITSTATUS(wait_status(child)), 0);
    EQ("and took its part", semctl(id, 2, GETVAL), 0);
    operate(id, 2, 1, 0);
    child = CHILD({ _exit(operate(id, 2, 0, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    EQ("GETZCNT", semctl(id, 2, GETZCNT), 1);
    operate(id, 2, -1, 0);
    EQ("a waiter for zero", WEXITSTATUS(wait_status(child)), 0);
    operate(id, 0, 1, 0);
    EXIT_OF({ operate(id, 0, -2, SEM_UNDO); });
    EQ("SEM_UNDO at the end of a process", semctl(id, 0, GETVAL), 2);
    struct timespec ms = {0, 5000000};
    struct sembuf op = {2, -1, 0};
    ERR("semtimedop", semtimedop(id, &op, 1, &ms), EAGAIN);
    child = CHILD({ signal(SIGUSR1, nothing); _exit(operate(id, 2, -1, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    kill(child, SIGUSR1);
    EQ("a signal", WEXITSTATUS(wait_status(child)), EINTR);
    child = CHILD({ _exit(operate(id, 2, -1, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    arg.buf = &ds;
    EQ("IPC_STAT", semctl(id, 0, IPC_STAT, arg), 0);
    EQ("how many", ds.sem_nsems, 3);
    EQ("remove", semctl(id, 0, IPC_RMID), 0);
    EQ("waiters are told", WEXITSTATUS(wait_status(child)), EIDRM);
    ERR("gone", operate(id, 0, 1, 0), EINVAL);
    key_t key = 0x5ca12 + getpid();
    ERR("no such key", semget(key, 1, 0600), ENOENT);
    id = MUST(semget(key, 2, IPC_CREAT | 0600));
    EQ("by key", semget(key, 0, 0), id);
    ERR("more than it has", semget(key, 3, 0), EINVAL);
    ERR("EXCL", semget(key, 2, IPC_CREAT | IPC_EXCL), EEXIST);
    ERR("none", semget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
    if (geteuid() == 0) EQ("another user", EXIT_OF({ drop_to(1000); _exit(operate(id, 0, 1, 0) ? errno : 0); }), EACCES);
    if (geteuid() == 0) EQ("who may not remove it", EXIT_OF({ drop_to(1000); _exit(semctl(id, 0, IPC_RMID) ? errno : 0); }), EPERM);
    semctl(id, 0, IPC_RMID);
}

CASE(messages)
{
    struct { long type; char text[20]; } m = {1, "one"};
    struct msqid_ds ds;
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    NEEDS(id);
    EQ("send", msgsnd(id, &m, 4, 0), 0);
    m.type = 3;
    strcpy(m.text, "three");
    msgsnd(id, &m, 6, 0);
    m.type = 2;
    strcpy(m.text, "two");
    msgsnd(id, &m, 4, 0);
    EQ("by type", msgrcv(id, &m, sizeof m.text, 3, 0), 6);
    STR("its text", m.text, "three");
    EQ("the lowest type up to 2", (msgrcv(id, &m, sizeof m.text, -2, 0), m.type), 1);
    EQ("not that type", (msgrcv(id, &m, sizeof m.text, 1, MSG_EXCEPT), m.type), 2);
    ERR("none", msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT), ENOMSG);
    m.type = 0;
    ERR("type 0", msgsnd(id, &m, 1, 0), EINVAL);
    m.type = 1;
    ERR("too large", msgsnd(id, &m, 9000, 0), EINVAL);
    msgsnd(id, &m, 10, 0);
    ERR("no room for it", msgrcv(id, &m, 5, 0, 0), E2BIG);
    EQ("cut", msgrcv(id, &m, 5, 0, MSG_NOERROR), 5);
    EQ("an empty one", (msgsnd(id, &m, 0, 0), msgrcv(id, &m, 5, 0, 0)), 0);
    pid_t child = CHILD({ _exit(msgrcv(id, &m, 20, 7, 0) == 3 ? 0 : errno); });
    wait_for_state(child, 'S');
    m.type = 6;
    msgsnd(id, &m, 1, 0);
    m.type = 7;
    msgsnd(id, &m, 3, 0);
    EQ("a waiter gets its type", WEXITSTATUS(wait_status(child)), 0);
    EQ("IPC_STAT", msgctl(id, IPC_STAT, &ds), 0);
    EQ("one is left", ds.msg_qnum, 1);
    EQ("its bytes", ds.msg_cbytes, 1);
    EQ("the limit", ds.msg_qbytes, 16384);
    static struct { long type; char text[8192]; } big = {1, ""};
    msgrcv(id, &m, 20, 0, 0);
    msgsnd(id, &big, 8192, 0);
    msgsnd(id, &big, 8192, 0);
    ERR("a full queue", msgsnd(id, &big, 1, IPC_NOWAIT), EAGAIN);
    child = CHILD({ _exit(msgsnd(id, &big, 1, 0) ? errno : 0); });
    wait_for_state(child, 'S');
    msgrcv(id, &big, 8192, 0, 0);
    EQ("a sender waits for room", WEXITSTATUS(wait_status(child)), 0);
    child = CHILD({ _exit(msgrcv(id, &m, 20, 99, 0) < 0 ? errno : 0); });
    wait_for_state(child, 'S');
    EQ("remove", msgctl(id, IPC_RMID, NULL), 0);
    EQ("waiters are told", WEXITSTATUS(wait_status(child)), EIDRM);
    ERR("gone", msgsnd(id, &m, 1, 0), EINVAL);
}
