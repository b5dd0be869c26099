//! Names for containers that were given none: an adjective and a person of science.

use clock::Rng;

const ADJECTIVES: [&str; 48] = [
    "agile", "amber", "ample", "brisk", "calm", "candid", "clever", "coral", "crisp", "curious",
    "daring", "deft", "eager", "earnest", "fair", "fleet", "fond", "gentle", "glad", "golden",
    "hardy", "humble", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mild",
    "neat", "nimble", "noble", "patient", "plucky", "polite", "proud", "quick", "quiet", "ready",
    "sharp", "silver", "steady", "sunny", "swift", "tidy", "warm", "witty",
];

const SURNAMES: [&str; 48] = [
    "abel",
    "ampere",
    "avogadro",
    "bassi",
    "bernoulli",
    "blackwell",
    "boole",
    "bose",
    "cannon",
    "chern",
    "cori",
    "dalton",
    "descartes",
    "dirac",
    "erdos",
    "faraday",
    "fermat",
    "fourier",
    "franklin",
    "frege",
    "galileo",
    "gauss",
    "germain",
    "godel",
    "hamilton",
    "hilbert",
    "huygens",
    "jang",
    "kepler",
    "lagrange",
    "laplace",
    "leibniz",
    "lovelace",
    "maxwell",
    "mirzakhani",
    "napier",
    "noether",
    "ohm",
    "pascal",
    "planck",
    "ramanujan",
    "riemann",
    "sejong",
    "shannon",
    "somerville",
    "turing",
    "volta",
    "woo",
];

/// A name; with `attempt` above 0 a digit is added, for names are taken at times.
pub(crate) fn generate(rng: &Rng, attempt: u32) -> String {
    let pick = |list: &[&'static str]| list[(rng.next_u64() % list.len() as u64) as usize];
    let name = format!("{}_{}", pick(&ADJECTIVES), pick(&SURNAMES));
    match attempt {
        0 => name,
        _ => format!("{name}{}", rng.next_u64() % 10),
    }
}
