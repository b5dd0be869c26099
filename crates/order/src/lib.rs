//! Sorting, and maps of many entries at once, in one copy of the code.
//!
//! The standard library's stable sort is 7 KB of WebAssembly for each type that is sorted, and a `BTreeMap`
//! that is collected sorts, too. Here indices are sorted, always by the same code, and the items then put in
//! their places. For lists of a daemon, where the download is dearer than the time; not for hot paths.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// `0..len` as compared; equal ones stay in their order.
fn indices(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..len).collect();
    indices.sort_by(|&one, &other| compare(one, other));
    indices
}

/// Swaps until what was at `indices[n]` is at `n`.
fn place(indices: &[usize], swap: &mut dyn FnMut(usize, usize)) {
    let mut places = vec![0; indices.len()];
    for (place, &index) in indices.iter().enumerate() {
        places[index] = place;
    }
    for at in 0..places.len() {
        while places[at] != at {
            let place = places[at];
            swap(at, place);
            places.swap(at, place);
        }
    }
}

/// Sorts; equal ones stay in their order.
pub fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let indices = indices(items.len(), &mut |one, other| {
        compare(&items[one], &items[other])
    });
    place(&indices, &mut |one, other| items.swap(one, other));
}

/// Sorts by a key; equal ones stay in their order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], mut key: impl FnMut(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// The entries as a map; of equal keys the last counts.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        map.insert(key, value);
    }
    map
}

/// The items as a set.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look drawn.
    fn numbers(seed: u64, len: usize) -> Vec<u64> {
        let step =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005) ^ (state >> 31));
        std::iter::successors(Some(seed), step).take(len).collect()
    }

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        for len in 0..70 {
            let mut items: Vec<(String, usize)> = numbers(len as u64 + 1, len)
                .into_iter()
                .enumerate()
                .map(|(at, number)| ((number % 20).to_string(), at))
                .collect();
            let mut expected = items.clone();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            sort_by_key(&mut items, |item| item.0.clone());
            assert_eq!(items, expected);
            items.reverse();
            expected.sort();
            sort(&mut items);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn maps_and_sets() {
        assert_eq!(
            map([(2, 'a'), (1, 'b'), (2, 'c')]),
            [(1, 'b'), (2, 'c')].into()
        );
        assert_eq!(set([3, 1, 3]), [1, 3].into());
    }
}
