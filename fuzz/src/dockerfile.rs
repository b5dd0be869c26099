//! Dockerfiles, words with variables, and `.dockerignore`.

/// See [`crate::Target`].
pub(crate) fn run(bytes: &[u8]) {
    if let Ok(file) = ::dockerfile::parse(bytes) {
        assert!(!file.stages.is_empty());
    }
    let text = String::from_utf8_lossy(bytes);
    let lookup = |name: &str| (name.len() < 3).then(|| text.chars().take(200).collect());
    for line in text.lines().take(50) {
        let _ = ::dockerfile::shell::expand(line, '\\', &lookup);
        let _ = ::dockerfile::shell::expand_words(line, '`', &lookup);
        let _ = ::dockerfile::shell::show(line, '\\', &lookup);
        let _ = ::dockerfile::glob::matches(line, "usr/share/doc/README.md");
    }
    if let Ok(ignore) = ::dockerfile::ignore::Ignore::parse(&text) {
        let _ = ignore.excludes("a/b/c.txt");
        let _ = ignore.skips_below("a/b");
    }
    let _ = ::dockerfile::parse_change(&text);
    let _ = ::dockerfile::parse_trigger(&text);
}

/// See [`crate::Target`].
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=$P a:${V:-2} AS b\nRUN x && `\n y\n",
        "FROM a\nRUN --mount=type=cache,target=/c,id=\"a,b\" --network=none <<EOF\necho $A\nEOF\nCOPY <<-'X' b /d/\n\tt\nX\n",
        "FROM a\nENV A=\"b c\" D='e' F=g\\ h\nLABEL k v w\nHEALTHCHECK --interval=1m30s CMD [\"x\"]\nONBUILD ADD a b\n",
        "${A:+b}${C##*/}${D%%.*}${E//x*/y}$F\"${G:?h}\"'$I'\\$J",
        "# c\n**/*.go\n!a/**/b[^c-d]?\n/x/../y/\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
