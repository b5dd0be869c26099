//! Time of `fork` of an address space of 50 MB, and of the first store to it afterwards.

#![allow(clippy::disallowed_methods)] // It measures real time.

use std::time::Instant;

use mem::{PAGE_SIZE, Page};
use rv64::{AddressSpace, Prot, Sharing};

const PAGES: u64 = 12_800;

fn median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0] * 1e6, times[times.len() / 2] * 1e6)
}

fn main() {
    let mut space = AddressSpace::new();
    for page in 0..PAGES {
        let va = 0x10_0000 + page * PAGE_SIZE as u64;
        space.map(
            va,
            Page::zeroed(),
            Prot::READ | Prot::WRITE,
            Sharing::Private,
        );
    }
    let (mut forks, mut first_stores, mut drops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..101 {
        let start = Instant::now();
        let child = space.fork();
        forks.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        space.break_cow(0x10_0000).expect("there is no limit");
        first_stores.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        drop(child);
        drops.push(start.elapsed().as_secs_f64());
    }
    for (name, times) in [
        ("fork", forks),
        ("first store, with its copy", first_stores),
        ("exit", drops),
    ] {
        let (best, middle) = median(times);
        println!("{name}: best {best:.2} us, median {middle:.2} us");
    }
}
