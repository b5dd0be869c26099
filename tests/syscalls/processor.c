/* RV64GC as a program sees it: conversions, rounding, atomics, illegal encodings, code that changes. On
 * another processor there is nothing to check; qemu-riscv64 judges the expectations. */
#define FAMILY "processor"
#include "check.h"

#if defined __riscv
#include <setjmp.h>

static sigjmp_buf out;
static siginfo_t seen;

static void caught(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(out, 1);
}

static void catch_all(void)
{
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};
    for (unsigned i = 0; i < 5; i++) sigaction(signals[i], &action, NULL);
}

static uint8_t *code;

/* Runs 32-bit or 16-bit instructions followed by a return; gives the signal, 0 when they ran. */
static int run(uint32_t instruction, int bytes)
{
    if (!code) code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, &instruction, bytes);
    memcpy(code + bytes, "\x82\x80", 2);
    __builtin___clear_cache((char *)code, (char *)code + 16);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) {
        ((void (*)(void))code)();
        return 0;
    }
    return seen.si_signo;
}

#define FLAGS() ({ unsigned long f_; __asm__ volatile("csrrw %0, fflags, x0" : "=r"(f_)); f_; })
#define SET_FRM(mode) __asm__ volatile("csrw frm, %0" ::"r"((unsigned long)(mode)))
#define TO_INT(insn, value, mode) ({ long r_; __asm__ volatile(insn " %0, %1, " mode : "=r"(r_) : "f"(value)); r_; })

CASE(conversions)
{
    double nan = __builtin_nan(""), inf = __builtin_inf();
    float nanf_ = __builtin_nanf("");
    FLAGS();
    EQ("w of NaN", TO_INT("fcvt.w.d", nan, "rtz"), INT32_MAX);
    EQ("is invalid", FLAGS(), 16);
    EQ("w of -inf", TO_INT("fcvt.w.d", -inf, "rtz"), INT32_MIN);
    EQ("wu of NaN is sign-extended", TO_INT("fcvt.wu.d", nan, "rtz"), -1);
    EQ("wu of -1", TO_INT("fcvt.wu.d", -1.0, "rtz"), 0);
    EQ("invalid", FLAGS(), 16);
    EQ("wu of -0.5 is only inexact", (TO_INT("fcvt.wu.d", -0.5, "rtz") << 8) + FLAGS(), 1);
    EQ("wu of 3e9 is sign-extended", TO_INT("fcvt.wu.d", 3e9, "rtz"), (long)(int)3000000000u);
    EQ("l of 1e30", TO_INT("fcvt.l.d", 1e30, "rtz"), LONG_MAX);
    EQ("lu of 1e30", TO_INT("fcvt.lu.d", 1e30, "rtz"), -1);
    EQ("lu of -inf", TO_INT("fcvt.lu.d", -inf, "rtz"), 0);
    EQ("l of NaN, single", TO_INT("fcvt.l.s", nanf_, "rtz"), LONG_MAX);
    EQ("w of 2147483648", TO_INT("fcvt.w.d", 2147483648.0, "rtz"), INT32_MAX);
    EQ("w of -2147483648.5 rounds to nearest", TO_INT("fcvt.w.d", -2147483648.5, "rne"), INT32_MIN);
    FLAGS();
    float narrow;
    __asm__ volatile("fcvt.s.d %0, %1" : "=f"(narrow) : "f"(nan));
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    EQ("NaN is canonical", bits, 0x7fc00000);
    __asm__ volatile("fcvt.s.d %0, %1" : "=f"(narrow) : "f"(1e300));
    memcpy(&bits, &narrow, 4);
    EQ("overflow", bits, 0x7f800000);
    EQ("its flags", FLAGS(), 5);
    SET_FRM(1);
    __asm__ volatile("fcvt.s.d %0, %1" : "=f"(narrow) : "f"(1e300));
    memcpy(&bits, &narrow, 4);
    EQ("towards zero it is the largest", bits, 0x7f7fffff);
    SET_FRM(0);
}

CASE(rounding)
{
    static const double values[] = {2.5, -2.5, 3.5, 0.5, -0.5, 2.4, -2.6};
    static const long want[5][7] = {{2, -2, 4, 0, 0, 2, -3}, {2, -2, 3, 0, 0, 2, -2}, {2, -3, 3, 0, -1, 2, -3}, {3, -2, 4, 1, 0, 3, -2}, {3, -3, 4, 1, -1, 2, -3}};
    char what[40];
    for (int mode = 0; mode < 5; mode++)
        for (int i = 0; i < 7; i++) {
            snprintf(what, sizeof what, "mode %d of %g", mode, values[i]);
            SET_FRM(mode);
            long got = TO_INT("fcvt.l.d", values[i], "dyn");
            SET_FRM(0);
            EQ(what, got, want[mode][i]);
        }
    double third, one = 1, three = 3;
    uint64_t bits;
    SET_FRM(2);
    __asm__ volatile("fdiv.d %0, %1, %2" : "=f"(third) : "f"(one), "f"(three));
    memcpy(&bits, &third, 8);
    EQ("a third, down", bits, 0x3fd5555555555555);
    SET_FRM(3);
    __asm__ volatile("fdiv.d %0, %1, %2" : "=f"(third) : "f"(one), "f"(three));
    memcpy(&bits, &third, 8);
    EQ("a third, up", bits, 0x3fd5555555555556);
    SET_FRM(0);
    catch_all();
    EQ("static mode 5", run(0x02b55553, 4), SIGILL);
    EQ("static mode 6", run(0x02b56553, 4), SIGILL);
    SET_FRM(5);
    EQ("dynamic with mode 5 in frm", run(0x02b57553, 4), SIGILL);
    SET_FRM(7);
    EQ("dynamic with mode 7 in frm", run(0x02b57553, 4), SIGILL);
    EQ("what needs no mode runs", run(0x22b50553, 4), 0);
    SET_FRM(0);
    unsigned long old;
    __asm__ volatile("csrrw %0, fcsr, %1" : "=r"(old) : "r"(~0UL));
    __asm__ volatile("csrrw %0, fcsr, x0" : "=r"(old));
    EQ("fcsr keeps eight bits", old, 0xff);
}

CASE(comparisons)
{
    double nan = __builtin_nan(""), r;
    uint64_t snan_bits = 0x7ff0000000000001, bits;
    double snan, zero = 0.0, minus = -0.0;
    memcpy(&snan, &snan_bits, 8);
    FLAGS();
    long less;
    __asm__ volatile("flt.d %0, %1, %2" : "=r"(less) : "f"(nan), "f"(zero));
    EQ("flt with a quiet NaN is invalid", less * 100 + FLAGS(), 16);
    __asm__ volatile("feq.d %0, %1, %2" : "=r"(less) : "f"(nan), "f"(zero));
    EQ("feq is not", less * 100 + FLAGS(), 0);
    __asm__ volatile("fmin.d %0, %1, %2" : "=f"(r) : "f"(zero), "f"(minus));
    memcpy(&bits, &r, 8);
    EQ("the smaller of the zeros", bits, 1UL << 63);
    __asm__ volatile("fmax.d %0, %1, %2" : "=f"(r) : "f"(snan), "f"(minus));
    memcpy(&bits, &r, 8);
    EQ("a NaN loses", bits, 1UL << 63);
    EQ("a signalling one is invalid", FLAGS(), 16);
    __asm__ volatile("fmax.d %0, %1, %2" : "=f"(r) : "f"(nan), "f"(nan));
    memcpy(&bits, &r, 8);
    EQ("two NaNs", bits, 0x7ff8000000000000);
    long class;
    __asm__ volatile("fclass.d %0, %1" : "=r"(class) : "f"(snan));
    EQ("class of a signalling NaN", class, 1 << 8);
    float f;
    uint32_t single;
    __asm__ volatile("fmv.d.x %0, %1" : "=f"(r) : "r"(0x3f800000L));
    __asm__ volatile("fadd.s %0, %1, %1" : "=f"(f) : "f"(r));
    memcpy(&single, &f, 4);
    EQ("a single that is not boxed is NaN", single, 0x7fc00000);
    __asm__ volatile("fmv.x.w %0, %1" : "=r"(class) : "f"(r));
    EQ("but moves as it is", class, 0x3f800000);
}

CASE(division)
{
    long q, r, min = LONG_MIN, minus = -1, zero = 0, seven = 7;
    __asm__ volatile("div %0, %2, %3\nrem %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(seven), "r"(zero));
    EQ("by zero", q, -1);
    EQ("its rest", r, 7);
    __asm__ volatile("div %0, %2, %3\nrem %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(min), "r"(minus));
    EQ("overflow", q, LONG_MIN);
    EQ("its rest", r, 0);
    __asm__ volatile("divuw %0, %2, %3\nremuw %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(0x80000000L), "r"(zero));
    EQ("unsigned words by zero", q, -1);
    EQ("its rest is sign-extended", r, (long)INT32_MIN);
    __asm__ volatile("mulhsu %0, %1, %2" : "=r"(q) : "r"(minus), "r"(minus));
    EQ("mulhsu", q, -1);
    __asm__ volatile("sllw %0, %1, %2" : "=r"(q) : "r"(1L), "r"(63L));
    EQ("a shift of a word takes five bits", q, (long)INT32_MIN);
}

CASE(atomics)
{
    static _Alignas(16) volatile uint32_t words[8];
    long r;
    catch_all();
    words[0] = 0x80000000;
    __asm__ volatile("amoadd.w %0, %2, (%1)" : "=r"(r) : "r"(words), "r"(1L) : "memory");
    EQ("the old word is sign-extended", r, (long)INT32_MIN);
    EQ("the new one", words[0], 0x80000001);
    __asm__ volatile("amomaxu.w %0, %2, (%1)" : "=r"(r) : "r"(words), "r"(5L) : "memory");
    EQ("unsigned", words[0], 0x80000001);
    __asm__ volatile("amomax.w %0, %2, (%1)" : "=r"(r) : "r"(words), "r"(5L) : "memory");
    EQ("signed", words[0], 5);
    __asm__ volatile("lr.w %0, (%1)\nsc.w %0, %2, (%1)" : "=&r"(r) : "r"(words), "r"(9L) : "memory");
    EQ("sc after lr", r * 100 + words[0], 9);
    __asm__ volatile("sc.w %0, %2, (%1)" : "=&r"(r) : "r"(words), "r"(7L) : "memory");
    EQ("sc alone fails", (r != 0) * 100 + words[0], 109);
    __asm__ volatile("lr.w %0, (%1)\nsc.w %0, %3, (%2)" : "=&r"(r) : "r"(words), "r"(words + 2), "r"(7L) : "memory");
    EQ("sc elsewhere fails", (r != 0) * 100 + words[2], 100);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) __asm__ volatile("amoadd.w %0, %2, (%1)" : "=r"(r) : "r"((char *)words + 2), "r"(1L) : "memory");
    EQ("a misaligned one", seen.si_signo * 10 + seen.si_code, SIGBUS * 10 + BUS_ADRALN);
    CHECK("its address", seen.si_addr == (char *)words + 2);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) __asm__ volatile("lr.d %0, (%1)" : "=r"(r) : "r"((char *)words + 4) : "memory");
    EQ("a misaligned lr", seen.si_signo * 10 + seen.si_code, SIGBUS * 10 + BUS_ADRALN);
    char *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) __asm__ volatile("amoadd.w %0, %2, (%1)" : "=r"(r) : "r"(ro), "r"(0L) : "memory");
    EQ("of a read-only page", seen.si_signo * 10 + seen.si_code, SIGSEGV * 10 + SEGV_ACCERR);
}

CASE(misaligned_accesses)
{
    static _Alignas(16) uint8_t bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    long r;
    double d;
    __asm__ volatile("ld %0, 3(%1)" : "=r"(r) : "r"(bytes));
    EQ("a load", r, 0x0b0a090807060504);
    __asm__ volatile("fld %0, 1(%1)" : "=f"(d) : "r"(bytes));
    memcpy(&r, &d, 8);
    EQ("a floating-point load", r, 0x0908070605040302);
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    __asm__ volatile("sd %0, 0(%1)" ::"r"(0x1122334455667788), "r"(pages + 4093) : "memory");
    __asm__ volatile("ld %0, 0(%1)" : "=r"(r) : "r"(pages + 4093));
    EQ("over a page border", r, 0x1122334455667788);
    munmap(pages + 4096, 4096);
    catch_all();
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) __asm__ volatile("sd %0, 0(%1)" ::"r"(0L), "r"(pages + 4093) : "memory");
    EQ("whose other side is not there", seen.si_signo * 10 + seen.si_code, SIGSEGV * 10 + SEGV_MAPERR);
    EQ("nothing was written", (uint8_t)pages[4093], 0x88);
}

CASE(illegal)
{
    catch_all();
    EQ("all zeros", run(0, 2), SIGILL);
    CHECK("its address", seen.si_addr == code);
    EQ("all ones", run(0xffffffff, 4), SIGILL);
    EQ("c.addi4spn of 0", run(0x0004, 2), SIGILL);
    EQ("c.lwsp to x0", run(0x4002, 2), SIGILL);
    EQ("c.ldsp to x0", run(0x6002, 2), SIGILL);
    EQ("c.jr x0", run(0x8002, 2), SIGILL);
    EQ("c.lui of 0", run(0x6501, 2), SIGILL);
    EQ("c.addi16sp of 0", run(0x6101, 2), SIGILL);
    EQ("c.addiw x0", run(0x2005, 2), SIGILL);
    EQ("c.nop with an immediate is a hint", run(0x0005, 2), 0);
    EQ("c.li to x0 is a hint", run(0x4005, 2), 0);
    EQ("slli by 0 is a hint", run(0x0502, 2), 0);
    EQ("lr.w with a second source", run(0x10a5252f, 4), SIGILL);
    EQ("slliw with bit 5", run(0x0205151b, 4), SIGILL);
    EQ("a machine register", run(0x30002573, 4), SIGILL);
    EQ("writing a counter", run(0xc0051073, 4), SIGILL);
    EQ("mret", run(0x30200073, 4), SIGILL);
    EQ("sret", run(0x10200073, 4), SIGILL);
    EQ("a load of width 7", run(0x00007503, 4), SIGILL);
    EQ("fence with unknown fields is a fence", run(0x0000000f | 5 << 7, 4), 0);
    EQ("ebreak", run(0x00100073, 4), SIGTRAP);
    CHECK("its address", seen.si_addr == code);
    EQ("its code", seen.si_code, TRAP_BRKPT);
}

CASE(changing_code)
{
    /* li a0, 1; ret, whose constant is written over. */
    uint32_t *text = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (int i = 0; i < 200; i++) {
        text[0] = 0x00000513 | (i & 0x7ff) << 20;
        text[1] = 0x00008067;
        __asm__ volatile("fence.i" ::: "memory");
        sum += ((int (*)(void))text)();
    }
    EQ("each version runs", sum, 19900);
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t seven = 0x00700513;
    memcpy(two + 4094, &seven, 4);
    memcpy(two + 4098, "\x82\x80", 2);
    __builtin___clear_cache(two, two + 8192);
    EQ("an instruction over two pages", ((int (*)(void))(two + 4094))(), 7);
    catch_all();
    mprotect(two + 4096, 4096, PROT_READ);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) ((int (*)(void))(two + 4094))();
    EQ("whose second page cannot be executed", seen.si_signo * 10 + seen.si_code, SIGSEGV * 10 + SEGV_ACCERR);
    CHECK("the address is the second page's", seen.si_addr == two + 4096 || seen.si_addr == two + 4094);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) ((int (*)(void))(two + 4091))();
    check("an odd target loses its lowest bit", seen.si_signo != SIGBUS, "signal %d", seen.si_signo);
}
#endif
