//! System calls made by small guest programs that are assembled here: what they return and what becomes of
//! the process. Each case is a program and the exit status (and output) it must have on Linux, as seen with
//! qemu-user or read from the manual page named.

use std::collections::HashMap;

use abi::signal::{SIGALRM, SIGILL, SIGKILL, SIGSEGV, SIGUSR1};
use kernel::Config;
use kernel::harness::{Machine, Output};
use kernel::task::WaitStatus;

const BASE: u64 = 0x1_0000;
const HEADERS: u64 = 64 + 56;

const ZERO: u32 = 0;
const SP: u32 = 2;
const T0: u32 = 5;
const S0: u32 = 8;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;

const SYS_WRITE: u64 = 64;
const SYS_EXIT: u64 = 93;
const SYS_EXIT_GROUP: u64 = 94;
const SYS_FUTEX: u64 = 98;
const SYS_NANOSLEEP: u64 = 101;
const SYS_SETITIMER: u64 = 103;
const SYS_KILL: u64 = 129;
const SYS_SIGSUSPEND: u64 = 133;
const SYS_SIGACTION: u64 = 134;
const SYS_SETPGID: u64 = 154;
const SYS_GETPID: u64 = 172;
const SYS_GETPPID: u64 = 173;
const SYS_BRK: u64 = 214;
const SYS_MUNMAP: u64 = 215;
const SYS_CLONE: u64 = 220;
const SYS_MMAP: u64 = 222;
const SYS_MPROTECT: u64 = 226;
const SYS_WAIT4: u64 = 260;
const SYS_PRLIMIT: u64 = 261;

const SIGCHLD: u64 = 17;
const VM_VFORK: u64 = 0x4100;

/// A program under construction.
#[derive(Default)]
struct Asm {
    words: Vec<u32>,
    labels: HashMap<&'static str, usize>,
    /// Branches to labels: place and kind.
    branches: Vec<(usize, &'static str)>,
}

impl Asm {
    fn word(&mut self, word: u32) -> &mut Asm {
        self.words.push(word);
        self
    }

    fn addi(&mut self, rd: u32, rs: u32, imm: i32) -> &mut Asm {
        self.word((imm as u32 & 0xfff) << 20 | rs << 15 | rd << 7 | 0x13)
    }

    fn mv(&mut self, rd: u32, rs: u32) -> &mut Asm {
        self.addi(rd, rs, 0)
    }

    /// Any constant of 32 bits, sign-extended, or any that is shorter than 44 bits with 12 zeros below.
    fn li(&mut self, rd: u32, value: u64) -> &mut Asm {
        if value > 0x7fff_ffff && value < 1 << 43 {
            self.li(rd, value >> 12);
            self.word(12 << 20 | rd << 15 | 1 << 12 | rd << 7 | 0x13);
            return self.addi(rd, rd, (value & 0x7ff) as i32);
        }
        let value = value as i64 as i32;
        let low = value << 20 >> 20;
        let high = value.wrapping_sub(low) as u32 & 0xffff_f000;
        self.word(high | rd << 7 | 0x37);
        self.word((low as u32 & 0xfff) << 20 | rd << 15 | rd << 7 | 0x1b)
    }

    fn load(&mut self, rd: u32, base: u32, offset: i32) -> &mut Asm {
        self.word((offset as u32 & 0xfff) << 20 | base << 15 | 3 << 12 | rd << 7 | 0x03)
    }

    fn store(&mut self, rs: u32, base: u32, offset: i32) -> &mut Asm {
        let offset = offset as u32;
        self.word(
            (offset >> 5 & 0x7f) << 25
                | rs << 20
                | base << 15
                | 3 << 12
                | (offset & 0x1f) << 7
                | 0x23,
        )
    }

    fn label(&mut self, name: &'static str) -> &mut Asm {
        self.labels.insert(name, self.words.len());
        self
    }

    fn branch(&mut self, funct3: u32, rs1: u32, rs2: u32, to: &'static str) -> &mut Asm {
        self.branches.push((self.words.len(), to));
        self.word(rs2 << 20 | rs1 << 15 | funct3 << 12 | 0x63)
    }

    fn beqz(&mut self, rs: u32, to: &'static str) -> &mut Asm {
        self.branch(0, rs, ZERO, to)
    }

    fn bnez(&mut self, rs: u32, to: &'static str) -> &mut Asm {
        self.branch(1, rs, ZERO, to)
    }

    fn jump(&mut self, to: &'static str) -> &mut Asm {
        self.branch(0, ZERO, ZERO, to)
    }

    /// `rd` = the address of a label that is known already.
    fn address(&mut self, rd: u32, of: &'static str) -> &mut Asm {
        let address = BASE + HEADERS + 4 * self.labels[of] as u64;
        self.li(rd, address)
    }

    fn call(&mut self, number: u64, args: &[u64]) -> &mut Asm {
        for (index, &value) in args.iter().enumerate() {
            self.li(A0 + index as u32, value);
        }
        self.ecall(number)
    }

    fn ecall(&mut self, number: u64) -> &mut Asm {
        self.li(17, number).word(0x73)
    }

    /// Ends with the low byte of `a0`.
    fn exit(&mut self) -> &mut Asm {
        self.ecall(SYS_EXIT_GROUP)
    }

    /// Ends with minus `a0`: the error number.
    fn exit_errno(&mut self) -> &mut Asm {
        self.word(0x20 << 25 | A0 << 20 | A0 << 7 | 0x33).exit()
    }

    fn finish(&self) -> Vec<u8> {
        let mut words = self.words.clone();
        for &(at, to) in &self.branches {
            let offset = (4 * (self.labels[to] as i32 - at as i32)) as u32;
            words[at] |= (offset >> 12 & 1) << 31
                | (offset >> 5 & 0x3f) << 25
                | (offset >> 1 & 0xf) << 8
                | (offset >> 11 & 1) << 7;
        }
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let size = HEADERS + code.len() as u64;
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
        put(&[2, 0, 243, 0, 1, 0, 0, 0]);
        for word in [BASE + HEADERS, 64, 0] {
            put(&word.to_le_bytes());
        }
        put(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        put(&[1, 0, 0, 0, 7, 0, 0, 0]);
        for word in [0, BASE, BASE, size, size + 4096, 4096] {
            put(&word.to_le_bytes());
        }
        elf.extend_from_slice(&code);
        elf
    }
}

fn machine() -> Machine {
    machine_with(64 << 20)
}

fn machine_with(memory: u64) -> Machine {
    Machine::new(Config {
        memory,
        ..Config::default()
    })
    .unwrap()
}

fn run_in(machine: &Machine, build: impl FnOnce(&mut Asm)) -> Output {
    let mut program = Asm::default();
    build(&mut program);
    machine
        .write_file("/program", &program.finish(), 0o755)
        .unwrap();
    machine.run_with(&["/program"], b"", 400_000_000).unwrap()
}

fn status(build: impl FnOnce(&mut Asm)) -> Option<WaitStatus> {
    run_in(&machine(), build).status
}

fn exit_code(build: impl FnOnce(&mut Asm)) -> i32 {
    run_in(&machine(), build).code()
}

fn killed_by(signal: u32) -> Option<WaitStatus> {
    Some(WaitStatus::Signaled {
        signal,
        core: false,
    })
}

/// Forks; the child goes on at `child`.
fn fork(asm: &mut Asm, child: &'static str) {
    asm.call(SYS_CLONE, &[SIGCHLD, 0, 0, 0, 0]).beqz(A0, child);
}

/// Waits for any child; the status word is at the stack pointer.
fn wait(asm: &mut Asm) {
    asm.addi(SP, SP, -16).store(ZERO, SP, 0);
    asm.li(A0, u64::MAX)
        .mv(A1, SP)
        .li(A2, 0)
        .li(13, 0)
        .ecall(SYS_WAIT4);
}

#[test]
fn a_child_exits_and_its_parent_is_told() {
    let code = exit_code(|asm| {
        fork(asm, "child");
        wait(asm);
        // The status word is the code times 256.
        asm.load(A0, SP, 0)
            .word(8 << 20 | A0 << 15 | 5 << 12 | A0 << 7 | 0x13)
            .exit();
        asm.label("child").call(SYS_EXIT, &[7]);
    });
    assert_eq!(code, 7);
}

#[test]
fn a_forked_child_has_its_own_memory_and_a_vforked_one_its_parents() {
    for (flags, expected) in [(SIGCHLD, 1), (SIGCHLD | VM_VFORK, 42)] {
        let code = exit_code(|asm| {
            asm.addi(SP, SP, -32).li(T0, 1).store(T0, SP, 16);
            asm.call(SYS_CLONE, &[flags, 0, 0, 0, 0]).beqz(A0, "child");
            wait(asm);
            asm.load(A0, SP, 32).exit();
            asm.label("child")
                .li(T0, 42)
                .store(T0, SP, 16)
                .call(SYS_EXIT, &[0]);
        });
        assert_eq!(code, expected, "flags {flags:#x}");
    }
}

#[test]
fn wrong_accesses_and_instructions_kill() {
    let jump_into_nothing = |asm: &mut Asm| {
        asm.li(T0, 0x1234_5000).word(T0 << 15 | 0x67);
    };
    assert_eq!(status(jump_into_nothing), killed_by(SIGSEGV));
    assert_eq!(
        status(|asm| {
            asm.load(A0, ZERO, 8);
        }),
        killed_by(SIGSEGV)
    );
    assert_eq!(
        status(|asm| {
            asm.word(0);
        }),
        killed_by(SIGILL)
    );
    // mprotect to PROT_NONE of the page the program is on.
    let lock_out = |asm: &mut Asm| {
        asm.call(SYS_MPROTECT, &[BASE, 4096, 0]).exit();
    };
    assert_eq!(status(lock_out), killed_by(SIGSEGV));
}

#[test]
fn an_unknown_call_is_enosys_and_leaves_one_line_in_the_log() {
    let machine = machine();
    let output = run_in(&machine, |asm| {
        asm.call(600, &[]).call(600, &[]).exit_errno();
    });
    assert_eq!(output.code(), 38);
    let lines = machine.kernel.log_lines();
    let named = lines
        .iter()
        .filter(|line| line.text.contains("unknown system call 600"))
        .count();
    assert_eq!(named, 1);
}

#[test]
fn memory_calls_give_the_errors_of_linux() {
    // (call, arguments, error number): mmap(2), munmap(2), mprotect(2).
    let cases: &[(u64, &[u64], i32)] = &[
        (SYS_MMAP, &[0, 0, 3, 0x22, u64::MAX, 0], 22),
        (SYS_MMAP, &[0, 4096, 3, 0x20, u64::MAX, 0], 22),
        (SYS_MMAP, &[0, 4096, 3, 2, 99, 0], 9),
        (SYS_MMAP, &[0, 4096, 3, 0x32, u64::MAX, 0], 1),
        (SYS_MMAP, &[BASE, 4096, 3, 0x10_0022, u64::MAX, 0], 17),
        (SYS_MMAP, &[0, 1 << 42, 3, 0x22, u64::MAX, 0], 12),
        (SYS_MMAP, &[0, 1 << 42, 3, 0x4022, u64::MAX, 0], 0),
        (SYS_MUNMAP, &[BASE + 1, 4096], 22),
        (SYS_MPROTECT, &[0x5000_0000, 4096, 1], 12),
        (SYS_MPROTECT, &[BASE + 1, 4096, 1], 22),
    ];
    for &(number, args, errno) in cases {
        let code = exit_code(|asm| {
            asm.call(number, args);
            if errno == 0 {
                asm.li(A0, 0);
            }
            asm.exit_errno();
        });
        assert_eq!(code, errno, "call {number} {args:x?}");
    }
}

#[test]
fn the_heap_is_zero_and_comes_back_zero() {
    let code = exit_code(|asm| {
        asm.call(SYS_BRK, &[0]).mv(S0, A0);
        for _ in 0..2 {
            // Grow by a page, add what is there, write, shrink.
            asm.li(T0, 4096)
                .word(T0 << 20 | S0 << 15 | A0 << 7 | 0x33)
                .ecall(SYS_BRK);
            asm.load(T0, S0, 64)
                .bnez(T0, "dirty")
                .li(T0, 99)
                .store(T0, S0, 64);
            asm.mv(A0, S0).ecall(SYS_BRK);
        }
        asm.li(A0, 5).exit();
        asm.label("dirty").li(A0, 6).exit();
    });
    assert_eq!(code, 5);
}

#[test]
fn sleeping_takes_virtual_time_only() {
    let machine = machine();
    let before = machine.now();
    let output = run_in(&machine, |asm| {
        asm.addi(SP, SP, -16)
            .li(T0, 1000)
            .store(T0, SP, 0)
            .store(ZERO, SP, 8);
        asm.mv(A0, SP).li(A1, 0).ecall(SYS_NANOSLEEP).exit();
    });
    assert_eq!(output.code(), 0);
    assert!(machine.now().since(before) >= 1000 * 1_000_000_000);
    assert!(output.fuel < 100_000);
}

#[test]
fn a_futex_wait_sees_another_value_or_times_out() {
    const WAIT_PRIVATE: u64 = 128;
    for (value, errno) in [(1, 11), (0, 110)] {
        let code = exit_code(|asm| {
            asm.addi(SP, SP, -32).store(ZERO, SP, 0);
            asm.store(ZERO, SP, 16).li(T0, 1000).store(T0, SP, 24);
            asm.mv(A0, SP)
                .li(A1, WAIT_PRIVATE)
                .li(A2, value)
                .addi(13, SP, 16);
            asm.ecall(SYS_FUTEX).exit_errno();
        });
        assert_eq!(code, errno);
    }
}

/// Installs a handler at the label (defined before) for `signal`; `sp` has room.
fn handle(asm: &mut Asm, signal: u32, handler: &'static str, flags: u64) {
    asm.addi(SP, SP, -32).address(T0, handler).store(T0, SP, 0);
    asm.li(T0, flags).store(T0, SP, 8).store(ZERO, SP, 16);
    asm.li(A0, u64::from(signal))
        .mv(A1, SP)
        .li(A2, 0)
        .li(13, 8)
        .ecall(SYS_SIGACTION);
}

#[test]
fn a_handler_runs_and_the_program_goes_on_with_its_registers() {
    let code = exit_code(|asm| {
        asm.jump("start")
            .label("handler")
            .mv(S0, A0)
            .li(T0, 77)
            .word(0x0000_8067);
        asm.label("start").li(S0, 1);
        handle(asm, SIGUSR1, "handler", 0);
        asm.li(T0, 5)
            .call(SYS_GETPID, &[])
            .li(A1, u64::from(SIGUSR1))
            .ecall(SYS_KILL);
        // The handler changed s0 and t0; both have come back with the frame.
        asm.mv(A0, S0).exit();
    });
    assert_eq!(code, 1);
}

#[test]
fn an_alarm_ends_sigsuspend_with_eintr() {
    let code = exit_code(|asm| {
        asm.jump("start")
            .label("handler")
            .word(0x0000_8067)
            .label("start");
        // SA_RESTART does not restart sigsuspend.
        handle(asm, SIGALRM, "handler", 0x1000_0000);
        asm.addi(SP, SP, -32)
            .store(ZERO, SP, 0)
            .store(ZERO, SP, 8)
            .li(T0, 1)
            .store(T0, SP, 16);
        asm.store(ZERO, SP, 24)
            .li(A0, 0)
            .mv(A1, SP)
            .li(A2, 0)
            .ecall(SYS_SETITIMER);
        asm.mv(A0, SP).li(A1, 8).ecall(SYS_SIGSUSPEND).exit_errno();
    });
    assert_eq!(code, 4);
}

#[test]
fn an_orphan_belongs_to_init() {
    let machine = machine();
    let output = run_in(&machine, |asm| {
        fork(asm, "middle");
        wait(asm);
        // Time for the grandchild to write.
        asm.store(ZERO, SP, 0).li(T0, 1000).store(T0, SP, 8);
        asm.mv(A0, SP)
            .li(A1, 0)
            .ecall(SYS_NANOSLEEP)
            .call(SYS_EXIT_GROUP, &[0]);
        asm.label("middle");
        fork(asm, "orphan");
        asm.call(SYS_EXIT_GROUP, &[0]);
        asm.label("orphan")
            .addi(SP, SP, -32)
            .store(ZERO, SP, 0)
            .li(T0, 100)
            .store(T0, SP, 8);
        asm.mv(A0, SP).li(A1, 0).ecall(SYS_NANOSLEEP);
        asm.call(SYS_GETPPID, &[])
            .addi(A0, A0, 48)
            .store(A0, SP, 16);
        asm.li(A0, 1)
            .addi(A1, SP, 16)
            .li(A2, 1)
            .ecall(SYS_WRITE)
            .call(SYS_EXIT_GROUP, &[0]);
    });
    assert_eq!(output.text(), "1");
    assert_eq!(
        machine.kernel.init_ns.pid.processes().len(),
        1,
        "init has reaped everybody"
    );
}

#[test]
fn a_fork_bomb_meets_the_limits() {
    let machine = machine_with(512 << 20);
    let output = run_in(&machine, |asm| {
        asm.li(S0, 0).label("again");
        asm.call(SYS_CLONE, &[SIGCHLD, 0, 0, 0, 0])
            .beqz(A0, "child");
        asm.li(T0, 0)
            .branch(4, A0, T0, "full")
            .addi(S0, S0, 1)
            .jump("again");
        asm.label("child")
            .label("forever")
            .addi(SP, SP, -16)
            .store(ZERO, SP, 0);
        asm.mv(A0, SP)
            .li(A1, 8)
            .ecall(SYS_SIGSUSPEND)
            .jump("forever");
        // kill(0, SIGKILL) takes the whole group along.
        asm.label("full")
            .call(SYS_KILL, &[0, u64::from(SIGKILL)])
            .jump("full");
    });
    assert_eq!(output.status, killed_by(SIGKILL));
    machine.run_until(10_000_000, || false);
    assert_eq!(machine.kernel.init_ns.pid.processes().len(), 1);
    assert!(machine.kernel.crashed().is_none());
}

#[test]
fn eating_all_memory_kills_the_eater() {
    let machine = machine();
    let output = run_in(&machine, |asm| {
        asm.call(SYS_MMAP, &[0, 1 << 30, 3, 0x4022, u64::MAX, 0])
            .li(T0, 4096)
            .label("more");
        asm.store(T0, A0, 0)
            .word(T0 << 20 | A0 << 15 | A0 << 7 | 0x33)
            .jump("more");
    });
    assert_eq!(output.status, killed_by(SIGKILL));
    assert!(
        machine.kernel.cgroup_root.memory.account.current() < 1 << 20,
        "its memory is free again"
    );
    assert_eq!(
        exit_code(|asm| {
            asm.call(SYS_EXIT, &[3]);
        }),
        3
    );
}

#[test]
fn a_limit_of_tasks_binds_users_but_not_root() {
    // RLIMIT_NPROC of 1 for root: fork works all the same.
    let code = exit_code(|asm| {
        asm.addi(SP, SP, -16)
            .li(T0, 1)
            .store(T0, SP, 0)
            .store(T0, SP, 8);
        asm.li(A0, 0)
            .li(A1, 6)
            .mv(A2, SP)
            .li(13, 0)
            .ecall(SYS_PRLIMIT);
        fork(asm, "child");
        wait(asm);
        asm.li(A0, 0).exit().label("child").call(SYS_EXIT, &[0]);
    });
    assert_eq!(code, 0);
}

#[test]
fn a_session_leader_cannot_change_its_group() {
    assert_eq!(
        exit_code(|asm| {
            asm.call(SYS_SETPGID, &[0, 0]).exit_errno();
        }),
        1
    );
}

#[test]
fn bad_programs_are_refused() {
    let machine = machine();
    let good = Asm::default().call(SYS_EXIT, &[0]).finish();
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut elf = good.clone();
        change(&mut elf);
        elf
    };
    let cases = [
        ("empty", Vec::new()),
        ("cut off", good[..100].to_vec()),
        ("another machine", broken(&|elf| elf[18] = 62)),
        ("32 bits", broken(&|elf| elf[4] = 1)),
        ("no segments", broken(&|elf| elf[56] = 0)),
        ("headers behind the end", broken(&|elf| elf[39] = 0x7f)),
        (
            "a segment that wraps",
            broken(&|elf| elf[64 + 16..64 + 24].fill(0xff)),
        ),
        ("more file than memory", broken(&|elf| elf[64 + 47] = 1)),
        ("an enormous segment", broken(&|elf| elf[64 + 46] = 1)),
        ("mapped at 0", broken(&|elf| elf[64 + 16..64 + 24].fill(0))),
        ("a script without interpreter", b"#!\n".to_vec()),
    ];
    for (name, elf) in cases {
        machine.write_file("/program", &elf, 0o755).unwrap();
        let result = machine.run_with(&["/program"], b"", 1_000_000);
        assert_eq!(result, Err(abi::Errno::ENOEXEC), "{name}");
    }
    machine
        .write_file("/program", b"#!/missing\n", 0o755)
        .unwrap();
    assert_eq!(machine.run(&["/program"]), Err(abi::Errno::ENOENT));
    machine.write_file("/loop", b"#!/loop\n", 0o755).unwrap();
    assert_eq!(machine.run(&["/loop"]), Err(abi::Errno::ELOOP));
    machine.write_file("/plain", &good, 0o644).unwrap();
    assert_eq!(machine.run(&["/plain"]), Err(abi::Errno::EACCES));
}
