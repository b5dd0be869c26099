//! Nothing is left: counts of a machine before and after.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::world::World;

/// Counts by name, of one machine.
pub type Census = BTreeMap<&'static str, u64>;

/// What may be more afterwards, and why: what the node's own programs decoded stays as long as their files,
/// up to the machine's bound; instructions only count up.
const MAY_GROW: [&str; 2] = ["decoded code bytes", "instructions"];

/// The counts of all machines.
pub fn census(world: &World) -> Result<Vec<Census>> {
    let machines = 0..world.nodes.len();
    machines
        .map(|node| Ok(world.machine(node)?.kernel().census()))
        .collect()
}

/// What is more in `after` than in `before`, a line each.
#[must_use]
pub fn leaks(before: &[Census], after: &[Census]) -> String {
    let mut text = String::new();
    for (node, (before, after)) in before.iter().zip(after).enumerate() {
        for (name, &count) in after {
            let was = before.get(name).copied().unwrap_or(0);
            if count > was && !MAY_GROW.contains(name) {
                let _ = writeln!(
                    text,
                    "node{}: {name}: {was} before, {count} after",
                    node + 1
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_a_leak_and_less_is_not() {
        let census = |tasks, files| vec![Census::from([("tasks", tasks), ("open files", files)])];
        assert_eq!(leaks(&census(3, 7), &census(3, 6)), "");
        assert_eq!(
            leaks(&census(3, 7), &census(4, 7)),
            "node1: tasks: 3 before, 4 after\n"
        );
    }
}
