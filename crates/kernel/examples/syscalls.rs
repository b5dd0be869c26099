//! Prints docs/syscalls.md from the system call table.

fn main() {
    print!("{}", kernel::syscalls::table::document());
}
