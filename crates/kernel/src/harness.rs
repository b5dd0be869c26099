//! For tests and tools: a machine made from a directory of the host, and a way to run one command in it.
//!
//! Natively only; the page and `drydockd` build machines from images.
