//! Runs `tests/transcripts/*.txt`.

use crate::script::check;

#[test]
fn transcripts_answer_as_linux_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 8);
    for file in files {
        check(
            &file.display().to_string(),
            &std::fs::read_to_string(&file).unwrap(),
        );
    }
}
