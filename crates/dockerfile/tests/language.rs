//! Text in, text out: each file of `tests/data` holds cases, a Dockerfile (or a word) above `----` and what
//! becomes of it below.

use std::collections::BTreeMap;

use dockerfile::{Kind, parse, shell};

/// Cases of a file: blocks between lines of `====`.
fn cases(text: &str) -> Vec<(String, String)> {
    text.split("\n====\n")
        .map(|case| {
            let (input, output) = case.split_once("\n----\n").expect("a case has both parts");
            (input.to_string(), output.trim_end().to_string())
        })
        .collect()
}

fn check(file: &str, run: impl Fn(&str) -> String) {
    let path = format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the data file");
    let mut got = Vec::new();
    let mut wrong = 0;
    for (input, expected) in cases(&text) {
        let output = run(&input);
        if output.trim_end() != expected {
            wrong += 1;
            eprintln!("--- {file}\n{input}\n--- expected\n{expected}\n--- got\n{output}");
        }
        got.push(format!("{input}\n----\n{}", output.trim_end()));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, got.join("\n====\n") + "\n").expect("writable");
    } else {
        assert_eq!(wrong, 0, "cases of {file} differ");
    }
}

/// `·` at a line's end stands for nothing: it lets a text end with blanks.
fn text(input: &str) -> String {
    input.replace('·', "")
}

#[test]
fn files() {
    check("files.txt", |input| match parse(text(input).as_bytes()) {
        Err(error) => format!("error: {error}"),
        Ok(file) => {
            let mut lines: Vec<String> = file
                .warnings
                .iter()
                .map(|w| format!("warning: {w}"))
                .collect();
            for item in &file.meta_args {
                lines.push(format!("{:?}", item.kind));
            }
            for stage in &file.stages {
                lines.push(format!(
                    "stage {:?} of {:?} {:?}",
                    stage.name, stage.base, stage.platform
                ));
                for item in &stage.instructions {
                    lines.push(format!("{}-{} {:?}", item.lines.0, item.lines.1, item.kind));
                }
            }
            lines.join("\n")
        }
    });
}

#[test]
fn code_is_kept() {
    let file = parse(b"FROM  a\nRUN x && \\\n   # why\n   y\n  env A=b").expect("valid");
    let stage = &file.stages[0];
    assert_eq!(stage.code, "FROM  a");
    assert_eq!(stage.instructions[0].code, "RUN x &&    y");
    assert_eq!(stage.instructions[1].code, "env A=b");
    assert!(matches!(stage.instructions[1].kind, Kind::Env(_)));
}

#[test]
fn words() {
    let env = BTreeMap::from([
        ("NAME", "value"),
        ("EMPTY", ""),
        ("PATH", "/usr/local/bin/app.tar.gz"),
        ("LIST", "a b  c"),
    ]);
    let lookup = |name: &str| env.get(name).map(|value| (*value).to_string());
    check("words.txt", |input| {
        input
            .lines()
            .map(|line| match shell::expand(line, '\\', &lookup) {
                Ok(word) => format!("{word}|"),
                Err(error) => format!("error: {error}"),
            })
            .collect::<Vec<_>>()
            .join("\n")
    });
    assert_eq!(
        shell::expand_words("$LIST '$LIST' x\"y z\"", '\\', &lookup),
        Ok(["a", "b", "c", "$LIST", "xy z"]
            .map(str::to_string)
            .to_vec())
    );
    assert_eq!(
        shell::show("echo $NAME ${NOT:-x} \"$NOT\" 'a'", '\\', &lookup),
        "echo value ${NOT:-x} \"$NOT\" 'a'"
    );
}

#[test]
fn changes() {
    let ok = dockerfile::parse_change("CMD [\"sh\"]\nENV A=1 B=2").expect("valid");
    assert_eq!(ok.len(), 2);
    for (change, message) in [
        ("RUN x", "RUN is not a valid change command"),
        (
            "FOOBAR x",
            "dockerfile parse error on line 1: unknown instruction: FOOBAR",
        ),
        ("ENV A", "ENV must have two arguments"),
    ] {
        assert_eq!(
            dockerfile::parse_change(change).expect_err("no").message,
            message
        );
    }
}

#[test]
fn hostile_texts_end() {
    let deep = "${a:-".repeat(10_000);
    assert!(shell::expand(&deep, '\\', &|_| None).is_err());
    let long = format!("FROM {}", "x".repeat(70_000));
    assert_eq!(
        parse(long.as_bytes()).expect_err("too long").message,
        "dockerfile line greater than maximum allowed size of 65535"
    );
    let big = "x".repeat(60_000);
    let lookup = |_: &str| Some(big.clone());
    assert_eq!(
        shell::expand("${A##*y}", '\\', &lookup).map(|text| text.len()),
        Ok(60_000)
    );
    assert!(shell::expand("${A//x*y/z}", '\\', &lookup).is_err());
    assert!(shell::expand(&"$A".repeat(20), '\\', &lookup).is_err());
    let endless = "ENV A=1\n".repeat(20_000);
    assert!(parse(format!("FROM a\n{endless}").as_bytes()).is_err());
    let many = "RUN x \\\n".repeat(200_000);
    assert!(parse(format!("FROM a\n{many}").as_bytes()).is_ok());
}
