//! Memory as instructions and the kernel see it: rights, faults, copy-on-write, code that changes.

use mem::{PAGE_SIZE, Page};
use rv64::{Access, AddressSpace, Counters, Exit, Fault, Hart, Prot, Sharing};

use super::assemble::{ECALL, addi, i_type, jal, ld, lui, r_type, s_type, sd};

const PAGE: u64 = PAGE_SIZE as u64;
const CODE: u64 = 0x10000;
const DATA: u64 = 0x20000;
const EBREAK: u32 = 0x0010_0073;

fn rw() -> Prot {
    Prot::READ | Prot::WRITE
}

fn rwx() -> Prot {
    rw() | Prot::EXEC
}

fn code_page(words: &[u32]) -> Page {
    Page::from_bytes(
        &words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

/// A hart before `words`, with two pages of data.
fn machine(words: &[u32]) -> (Hart, AddressSpace) {
    let mut space = AddressSpace::new();
    space.map(CODE, code_page(words), rwx(), Sharing::Private);
    space.map(DATA, Page::zeroed(), rw(), Sharing::Private);
    space.map(DATA + PAGE, Page::zeroed(), rw(), Sharing::Private);
    let mut hart = Hart {
        pc: CODE,
        ..Hart::default()
    };
    hart.x[10] = DATA;
    (hart, space)
}

fn run(hart: &mut Hart, space: &mut AddressSpace) -> (Exit, u64) {
    let mut budget = 10_000;
    let exit = rv64::run(hart, space, &mut budget, Counters::default());
    (exit, 10_000 - budget)
}

#[test]
fn exits_point_at_their_instruction_and_count_what_retired() {
    let table = [
        (vec![addi(1, 0, 1), ECALL], Exit::Ecall, 1),
        (vec![EBREAK], Exit::Ebreak, 0),
        (
            vec![addi(1, 0, 1), addi(1, 1, 1), 0x0000_9002],
            Exit::Ebreak,
            2,
        ),
        (
            vec![addi(1, 0, 1), 0xffff_ffff],
            Exit::Illegal {
                instruction: 0xffff_ffff,
            },
            1,
        ),
        (vec![0], Exit::Illegal { instruction: 0 }, 0),
        (
            vec![ld(1, 0, 8)],
            Exit::Fault(Fault {
                addr: 8,
                access: Access::Read,
            }),
            0,
        ),
        (
            vec![addi(2, 0, 3), sd(1, 0, 16)],
            Exit::Fault(Fault {
                addr: 16,
                access: Access::Write,
            }),
            1,
        ),
        (
            vec![jal(0, -16)],
            Exit::Fault(Fault {
                addr: CODE - 16,
                access: Access::Execute,
            }),
            1,
        ),
        (
            vec![r_type(0x2f, 5, 3, 11, 0, 0)],
            Exit::Misaligned { addr: 4 },
            0,
        ),
        // fadd.d with the reserved dynamic rounding mode 5
        (
            vec![i_type(0x73, 0, 5, 5, 2), r_type(0x53, 0, 7, 0, 0, 1)],
            Exit::Illegal {
                instruction: 0x0200_7053,
            },
            1,
        ),
    ];
    for (words, exit, retired) in table {
        let (mut hart, mut space) = machine(&words);
        hart.x[11] = 4;
        assert_eq!(run(&mut hart, &mut space), (exit, retired), "{words:x?}");
        let pc = if let Exit::Fault(Fault {
            addr,
            access: Access::Execute,
        }) = exit
        {
            addr
        } else {
            CODE + 4 * retired
        };
        assert_eq!(hart.pc, pc, "{words:x?}");
    }
}

#[test]
fn budgets_are_exact() {
    // A loop of three instructions.
    let words = [addi(1, 1, 1), addi(2, 2, 2), jal(0, -8)];
    for given in [0, 1, 2, 3, 63, 64, 65, 100, 1000, 1001] {
        let (mut hart, mut space) = machine(&words);
        let mut budget = given;
        assert_eq!(
            rv64::run(&mut hart, &mut space, &mut budget, Counters::default()),
            Exit::Budget
        );
        assert_eq!(budget, 0);
        assert_eq!(
            (hart.x[1], hart.x[2]),
            (given.div_ceil(3), (given + 1) / 3 * 2)
        );
        assert_eq!(hart.pc, CODE + given % 3 * 4);
    }
}

#[test]
fn counters_read_what_the_kernel_says() {
    let rd = |rd, csr: i32| i_type(0x73, rd, 2, 0, csr - 0x1000);
    let (mut hart, mut space) = machine(&[
        addi(9, 0, 1),
        rd(1, 0xc01),
        rd(2, 0xc02),
        rd(3, 0xc00),
        ECALL,
    ]);
    let mut budget = 1000;
    let counters = Counters {
        time: 500,
        time_per_65536: 65536 * 10,
        instret: 70,
    };
    assert_eq!(
        rv64::run(&mut hart, &mut space, &mut budget, counters),
        Exit::Ecall
    );
    assert_eq!(
        (hart.x[1], hart.x[2], hart.x[3], budget),
        (510, 72, 73, 996)
    );
    // They cannot be written.
    let write = i_type(0x73, 1, 1, 1, 0xc01 - 0x1000);
    let (mut hart, mut space) = machine(&[write]);
    assert_eq!(
        run(&mut hart, &mut space).0,
        Exit::Illegal { instruction: write }
    );
}

#[test]
fn misaligned_accesses_cross_pages_or_do_nothing() {
    let words = [sd(11, 10, -3), ld(12, 10, -3), ECALL];
    let (mut hart, mut space) = machine(&words);
    hart.x[10] = DATA + PAGE;
    hart.x[11] = 0x1122_3344_5566_7788;
    assert_eq!(run(&mut hart, &mut space), (Exit::Ecall, 2));
    assert_eq!(hart.x[12], 0x1122_3344_5566_7788);
    assert_eq!(space.read_u8(DATA + PAGE + 4), Ok(0x11));
    // The second page is missing: the first is not touched.
    let (mut hart, mut space) = machine(&words);
    hart.x[10] = DATA + 2 * PAGE;
    hart.x[11] = u64::MAX;
    let fault = Fault {
        addr: DATA + 2 * PAGE,
        access: Access::Write,
    };
    assert_eq!(run(&mut hart, &mut space), (Exit::Fault(fault), 0));
    assert_eq!(space.read_u32(DATA + 2 * PAGE - 4), Ok(0));
    assert_eq!(hart.pc, CODE);
}

#[test]
fn rights_hold_after_they_changed() {
    let words = [sd(11, 10, 0), ld(12, 10, 0), ECALL];
    let (mut hart, mut space) = machine(&words);
    assert_eq!(run(&mut hart, &mut space).0, Exit::Ecall);
    for (prot, exit) in [
        (
            Prot::READ,
            Exit::Fault(Fault {
                addr: DATA,
                access: Access::Write,
            }),
        ),
        (
            Prot::NONE,
            Exit::Fault(Fault {
                addr: DATA,
                access: Access::Write,
            }),
        ),
        (rw(), Exit::Ecall),
    ] {
        space.protect(DATA, PAGE, prot);
        hart.pc = CODE;
        assert_eq!(run(&mut hart, &mut space).0, exit);
    }
    space.protect(CODE, PAGE, Prot::READ);
    hart.pc = CODE;
    let fault = Fault {
        addr: CODE,
        access: Access::Execute,
    };
    assert_eq!(run(&mut hart, &mut space).0, Exit::Fault(fault));
    space.unmap(DATA, 1 << 40);
    assert_eq!(space.resident_pages(), 1);
    assert_eq!(
        space.read_u8(DATA),
        Err(Fault {
            addr: DATA,
            access: Access::Read
        })
    );
}

#[test]
fn forked_memory_is_copied_on_write_and_shared_memory_is_not() {
    let words = [sd(11, 10, 0), ECALL];
    let (mut hart, mut parent) = machine(&words);
    parent.map(DATA + PAGE, Page::zeroed(), rw(), Sharing::Shared);
    assert_eq!(run(&mut hart, &mut parent).0, Exit::Ecall);
    let mut child = parent.fork();
    assert_eq!(child.resident_pages(), 3);
    let cow = |space: &AddressSpace, va| space.lookup(va).is_some_and(|mapped| mapped.cow);
    assert!(cow(&parent, DATA) && cow(&child, DATA) && !cow(&child, DATA + PAGE));

    hart.pc = CODE;
    hart.x[11] = 7;
    let fault = Fault {
        addr: DATA,
        access: Access::Write,
    };
    assert_eq!(run(&mut hart, &mut parent).0, Exit::Fault(fault));
    assert_eq!(child.write_u64(DATA, 9), Err(fault));
    assert_eq!(parent.break_cow(DATA).unwrap(), Some(true));
    assert_eq!(run(&mut hart, &mut parent).0, Exit::Ecall);
    assert_eq!(
        (parent.read_u64(DATA), child.read_u64(DATA)),
        (Ok(7), Ok(0))
    );
    // The child is the only owner now.
    assert_eq!(child.write_u64(DATA, 9), Ok(()));
    assert_eq!(parent.break_cow(DATA + PAGE).unwrap(), None);

    child.write_u64(DATA + PAGE, 5).unwrap();
    assert_eq!(parent.read_u64(DATA + PAGE), Ok(5));
    // Without the child, its parent need not copy.
    drop(child);
    assert!(!cow(&parent, CODE));
}

#[test]
fn code_may_change_while_it_runs() {
    // Overwrites the instruction three further on, in the same block, then in a loop again and again.
    let patch = |rd, imm| addi(rd, rd, imm);
    let words = [
        s_type(0x23, 2, 5, 6, 12),
        addi(1, 1, 1),
        addi(2, 2, 1),
        addi(3, 3, 1),
        // Toggle the patch between addi x3 and addi x4.
        r_type(0x33, 6, 4, 6, 7, 0),
        addi(8, 8, -1),
        // bne x8, x0, -24
        super::assemble::b_type(1, 8, 0, -24),
        ECALL,
    ];
    let (mut hart, mut space) = machine(&words);
    hart.x[5] = CODE;
    hart.x[6] = u64::from(patch(4, 1));
    hart.x[7] = u64::from(patch(4, 1) ^ patch(3, 1));
    hart.x[8] = 100;
    assert_eq!(run(&mut hart, &mut space), (Exit::Ecall, 700));
    assert_eq!((hart.x[1], hart.x[3], hart.x[4]), (100, 50, 50));
}

#[test]
fn stores_beside_code_keep_it() {
    let words = [sd(11, 5, 1024), ld(12, 5, 1024), ECALL];
    let (mut hart, mut space) = machine(&words);
    (hart.x[5], hart.x[11]) = (CODE, 77);
    assert_eq!(run(&mut hart, &mut space).0, Exit::Ecall);
    let page = space
        .lookup(CODE)
        .map(|mapped| mapped.page.clone())
        .unwrap();
    assert!(page.has_code());
    assert_eq!(hart.x[12], 77);
    page.write(8, b"x");
    assert!(!page.has_code());
}

#[test]
fn decoded_code_is_shared_and_dropped_by_others_writes() {
    let page = code_page(&[addi(1, 0, 1), ECALL]);
    let mut spaces = [AddressSpace::new(), AddressSpace::new()];
    let places = [CODE, CODE * 16];
    for (space, va) in spaces.iter_mut().zip(places) {
        space.map(va, page.clone(), Prot::READ | Prot::EXEC, Sharing::Private);
    }
    let run_both = |spaces: &mut [AddressSpace; 2], expected| {
        for (space, va) in spaces.iter_mut().zip(places) {
            let mut hart = Hart {
                pc: va,
                ..Hart::default()
            };
            assert_eq!(run(&mut hart, space), (Exit::Ecall, 1));
            assert_eq!((hart.x[1], hart.pc), (expected, va + 4));
        }
    };
    run_both(&mut spaces, 1);
    let first = page.code().unwrap();
    run_both(&mut spaces, 1);
    assert!(std::rc::Rc::ptr_eq(&first, &page.code().unwrap()));
    page.write(0, &addi(1, 0, 2).to_le_bytes());
    run_both(&mut spaces, 2);

    // A third process stores to it through a shared mapping, before and after it was executed.
    let mut writer = AddressSpace::new();
    writer.map(DATA, page.clone(), rw(), Sharing::Shared);
    let mut hart = Hart::default();
    for value in 3..6 {
        let words = [s_type(0x23, 2, 10, 11, 0), ECALL];
        writer.map(CODE, code_page(&words), rwx(), Sharing::Private);
        hart.pc = CODE;
        hart.x[10] = DATA;
        hart.x[11] = u64::from(addi(1, 0, value));
        assert_eq!(run(&mut hart, &mut writer).0, Exit::Ecall);
        run_both(&mut spaces, value as u64);
    }
}

#[test]
fn code_can_be_stored_through_another_mapping_of_the_same_process() {
    // x10 maps the code page a second time.
    let words = [
        s_type(0x23, 2, 10, 11, 8),
        addi(2, 0, 1),
        addi(1, 0, 1),
        ECALL,
    ];
    let (mut hart, mut space) = machine(&[]);
    let page = code_page(&words);
    space.map(CODE, page.clone(), Prot::READ | Prot::EXEC, Sharing::Shared);
    space.map(DATA, page, rw(), Sharing::Shared);
    for value in 2..5 {
        hart.pc = CODE;
        hart.x[11] = u64::from(addi(1, 0, value));
        assert_eq!(run(&mut hart, &mut space).0, Exit::Ecall);
        assert_eq!(hart.x[1], value as u64);
    }
}

#[test]
fn instructions_cross_pages() {
    // The last halfword of the page and the first of the next are one addi.
    let (mut hart, mut space) = machine(&[]);
    let instruction = addi(1, 1, 1).to_le_bytes();
    let first = space
        .lookup(CODE)
        .map(|mapped| mapped.page.clone())
        .unwrap();
    first.write(PAGE_SIZE - 2, &instruction[..2]);
    let second = |imm| {
        let page = Page::from_bytes(&addi(1, 1, imm).to_le_bytes()[2..]);
        page.write(2, &ECALL.to_le_bytes());
        page
    };
    let mut go = |space: &mut AddressSpace| {
        hart.pc = CODE + PAGE - 2;
        (run(&mut hart, space).0, hart.x[1], hart.pc)
    };
    drop(first);
    let missing = Exit::Fault(Fault {
        addr: CODE + PAGE,
        access: Access::Execute,
    });
    assert_eq!(go(&mut space), (missing, 0, CODE + PAGE - 2));
    for (imm, sum) in [(1, 4), (10, 44), (-4, 28)] {
        space.map(CODE + PAGE, second(imm), rwx(), Sharing::Private);
        for _ in 0..3 {
            assert_eq!(go(&mut space).0, Exit::Ecall);
        }
        assert_eq!(go(&mut space).1, sum);
    }
}

#[test]
fn a_context_switch_breaks_the_reservation() {
    let lr = r_type(0x2f, 1, 3, 10, 0, 2 << 2);
    let sc = r_type(0x2f, 2, 3, 10, 11, 3 << 2);
    let (mut hart, mut space) = machine(&[lr, ECALL, sc, ECALL]);
    for (switched, result) in [(false, 0), (true, 1)] {
        hart.pc = CODE;
        assert_eq!(run(&mut hart, &mut space).0, Exit::Ecall);
        if switched {
            hart.clear_reservation();
        }
        hart.pc += 4;
        assert_eq!(run(&mut hart, &mut space).0, Exit::Ecall);
        assert_eq!(hart.x[2], result);
    }
}

#[test]
fn the_kernel_copies_with_the_users_rights() {
    let (_, mut space) = machine(&[]);
    let text = b"a string that crosses into the next page\0";
    let at = DATA + PAGE - 10;
    space.write(at, text).unwrap();
    let mut out = Vec::new();
    assert_eq!(space.read_cstr(at, 100, &mut out), Ok(true));
    assert_eq!(out, &text[..text.len() - 1]);
    assert_eq!(space.read_cstr(at, 5, &mut out), Ok(false));
    space.fill(DATA + PAGE, PAGE_SIZE, b'x').unwrap();
    let missing = Fault {
        addr: DATA + 2 * PAGE,
        access: Access::Read,
    };
    assert_eq!(space.read_cstr(DATA + PAGE, 10_000, &mut out), Err(missing));
    space.write_u32(DATA, 5).unwrap();
    assert_eq!(space.compare_exchange_u32(DATA, 5, 6), Ok(5));
    assert_eq!(space.compare_exchange_u32(DATA, 5, 7), Ok(6));
    space.protect(DATA, PAGE, Prot::READ);
    let denied = Fault {
        addr: DATA,
        access: Access::Write,
    };
    assert_eq!(space.compare_exchange_u32(DATA, 6, 7), Err(denied));
    let mut bytes = [0; 4];
    assert_eq!(space.read_force(DATA, &mut bytes), Ok(()));
    assert_eq!(bytes, [6, 0, 0, 0]);
    // No address is above 2^47, and nothing wraps.
    assert!(space.read_u64(u64::MAX - 3).is_err() && space.read_u8(1 << 47).is_err());
}

#[test]
fn pages_far_apart_cost_nothing_between_them() {
    let mut space = AddressSpace::new();
    let places = [
        0,
        PAGE,
        (2 << 20) - PAGE,
        2 << 20,
        1 << 30,
        (1 << 39) + PAGE,
        (1 << 47) - PAGE,
    ];
    for va in places {
        space.map(va, Page::zeroed(), rw(), Sharing::Private);
    }
    let mut seen = Vec::new();
    space.for_each_page(0, 1 << 47, |va, _| seen.push(va));
    assert_eq!(seen, places);
    assert_eq!(space.resident_in(PAGE, 2 << 20), 3);
    space.unmap(PAGE, (1 << 47) - 2 * PAGE);
    assert_eq!(space.resident_pages(), 2);
    assert!(space.lookup(0).is_some() && space.lookup((1 << 47) - PAGE).is_some());
    let mut hart = Hart {
        pc: (1 << 47) - PAGE,
        ..Hart::default()
    };
    hart.x[1] = lui(1, 0).into();
    space.protect(0, u64::MAX, rwx());
    assert!(matches!(
        run(&mut hart, &mut space).0,
        Exit::Illegal { instruction: 0 }
    ));
}
