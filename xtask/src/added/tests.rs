//! Layers that are converted, and a registry on loopback that an image is copied from.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;

/// A layer with what ordinary ones have: long names, extended attributes, links, devices, a large file.
fn layer(seed: u8) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |kind: tar::EntryType, name: &str, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(1000);
        header.set_gid(5);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        if kind == tar::EntryType::Char {
            header.set_device_major(1).expect("a device");
            header.set_device_minor(3).expect("a device");
        }
        match link {
            "" => tar.append_data(&mut header, name, content),
            link => tar.append_link(&mut header, name, link),
        }
        .expect("to memory");
    };
    let large: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8 ^ seed).collect();
    put(tar::EntryType::Directory, "bin/", b"", "");
    put(tar::EntryType::Regular, "bin/large", &large, "");
    put(tar::EntryType::Regular, "bin/empty", b"", "");
    put(
        tar::EntryType::Regular,
        &format!("{}x", "deep/".repeat(50)),
        b"hello",
        "",
    );
    put(tar::EntryType::Symlink, "link", b"", "bin/large");
    put(tar::EntryType::Link, "hard", b"", "bin/large");
    put(tar::EntryType::Char, "null", b"", "");
    put(tar::EntryType::Regular, "etc/.wh.gone", b"", "");
    put(
        tar::EntryType::XHeader,
        "PaxHeaders/cap",
        b"37 SCHILY.xattr.user.who=\x01\x02 somebody\n",
        "",
    );
    put(tar::EntryType::Regular, "cap", b"capable", "");
    tar.into_inner().expect("to memory")
}

#[test]
fn a_converted_layer_is_the_same_tar_and_can_be_read_file_by_file() {
    let original = layer(1);
    let converted = convert::estargz(&original).expect("converted");
    let again = convert::decompress(&converted.blob).expect("gzip");
    assert_eq!(Digest::of(&again), converted.diff_id);
    // The end of the original is its two empty blocks and what filled them up.
    let end = original.len() - original.iter().rev().take_while(|byte| **byte == 0).count();
    assert!(again.starts_with(&original[..end]));

    let blob = &converted.blob;
    let size = blob.len() as u64;
    let toc_offset = layers::estargz::parse_footer(blob, size).expect("a footer");
    let toc = layers::estargz::parse_toc(
        &blob[toc_offset as usize..],
        converted.descriptor.toc_digest(),
    )
    .expect("a table");
    let ends = layers::estargz::member_ends(&toc, toc_offset);
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut last, mut sizes) = (String::new(), BTreeMap::new());
    for entry in &toc.entries {
        if entry.kind != "chunk" {
            last.clone_from(&entry.name);
            sizes.insert(last.clone(), entry.size);
        }
        if layers::estargz::has_content(entry) {
            let chunk = match entry.chunk_size {
                0 => sizes[&last] - entry.chunk_offset,
                chunk => chunk,
            };
            let member = &blob[entry.offset as usize..ends[&entry.offset] as usize];
            let bytes = layers::estargz::unpack_chunk(member, entry, chunk).expect("a chunk");
            found.entry(last.clone()).or_default().extend(bytes);
        }
    }
    assert_eq!(found["bin/large"].len(), 600_000);
    assert_eq!(found[&format!("{}x", "deep/".repeat(50))], b"hello");
    assert_eq!(found["cap"], b"capable");
    let of = |name: &str| toc.entries.iter().find(|entry| entry.name == name);
    let cap = of("cap").expect("listed");
    assert_eq!(cap.xattrs["user.who"], "AQIgc29tZWJvZHk=");
    assert_eq!((cap.uid, cap.gid, cap.mode), (1000, 5, 0o755));
    assert_eq!(
        of("null").map(|null| (null.dev_major, null.dev_minor)),
        Some((1, 3))
    );
    assert_eq!(
        of("hard").map(|hard| hard.link_name.as_str()),
        Some("bin/large")
    );

    // Once more changes nothing.
    let twice = convert::estargz(&again).expect("converted");
    assert_eq!(twice.diff_id, converted.diff_id);
    assert!(convert::estargz(&original[..700]).is_err());
}

/// A registry that wants a token and sends its clients elsewhere for blobs.
struct Served {
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

fn serve(files: BTreeMap<String, (String, Vec<u8>)>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let log = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = first.split(' ').nth(1).unwrap_or_default().to_string();
            let token = head.iter().any(|line| line == "Authorization: Bearer T");
            seen.lock().expect("the log").push(path.clone());
            let (status, more, body) = if path.starts_with("/token?") {
                ("200 OK", String::new(), br#"{"token":"T"}"#.to_vec())
            } else if let Some(digest) = path.strip_prefix("/elsewhere/") {
                ("200 OK", String::new(), files[digest].1.clone())
            } else if !token {
                let challenge = format!(
                    "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\",scope=\"x\"\r\n"
                );
                ("401 Unauthorized", challenge, b"{}".to_vec())
            } else {
                let name = path.rsplit('/').next().unwrap_or_default();
                match files.get(name) {
                    Some(_) if path.contains("/blobs/") => {
                        let location = format!("Location: /elsewhere/{name}\r\n");
                        ("307 Temporary Redirect", location, Vec::new())
                    }
                    Some((kind, body)) => {
                        ("200 OK", format!("Content-Type: {kind}\r\n"), body.clone())
                    }
                    None => {
                        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
                        ("404 Not Found", String::new(), body.to_vec())
                    }
                }
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    Served { port, log }
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_image_is_copied_with_its_past_in_labels() {
    let mut files: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    let mut put = |name: Option<&str>, kind: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(kind, &bytes);
        let digest = descriptor.digest.to_string();
        files.insert(digest, (kind.to_string(), bytes.clone()));
        if let Some(name) = name {
            files.insert(name.to_string(), (kind.to_string(), bytes));
        }
        descriptor
    };
    let tars = [layer(1), layer(2)];
    let mut image = |name: Option<&str>, architecture: &str, lie: bool| {
        let packed = tars.iter().map(|tar| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).expect("to memory");
            gzip.finish().expect("to memory")
        });
        let layers: Vec<Descriptor> = packed
            .map(|blob| put(None, MediaType::LAYER_GZIP, blob))
            .collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let diff_ids = if lie {
            vec![diff_ids[1].clone(), diff_ids[0].clone()]
        } else {
            diff_ids
        };
        let config = json!({ "architecture": architecture, "os": "linux", "unknown": [1],
            "config": { "Cmd": ["/bin/large"] }, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = put(None, MediaType::CONFIG, config.to_string().into_bytes());
        let manifest = serde_json::to_vec(&Manifest::new(config, layers)).expect("JSON");
        let mut one = put(name, MediaType::MANIFEST, manifest);
        one.platform = Platform::parse(&format!("linux/{architecture}"));
        one
    };
    let (amd, risc) = (
        image(None, "amd64", false),
        image(Some("single"), "riscv64", false),
    );
    image(Some("foreign"), "amd64", false);
    image(Some("lying"), "riscv64", true);
    for (name, list) in [
        ("1.0", vec![amd.clone(), risc.clone()]),
        ("other", vec![amd]),
    ] {
        put(
            Some(name),
            MediaType::INDEX,
            serde_json::to_vec(&Index::new(list)).expect("JSON"),
        );
    }
    let served = serve(files);
    let folder = Folder(std::env::temp_dir().join(format!("drydock-added-{}", std::process::id())));
    let out = folder.0.display().to_string();
    let add = |tag: &str, more: &[&str]| {
        let mut args = vec![format!("127.0.0.1:{}/team/app:{tag}", served.port)];
        if more.is_empty() {
            args.extend(["--as".to_string(), "app:other".to_string()]);
        }
        args.extend(more.iter().map(ToString::to_string));
        args.extend(["--out".to_string(), out.clone()]);
        run(&args)
    };
    add("1.0", &["--as", "app:1", "--description", "An app"]).expect("added");

    let read = |path: &str| std::fs::read(folder.0.join(path)).unwrap_or_else(|_| panic!("{path}"));
    let ManifestDocument::Index(index) =
        ManifestDocument::parse(&read("v2/library/app/manifests/1")).expect("an index")
    else {
        panic!("no index");
    };
    let manifest = read(&oci::blob_path(&index.manifests[0].digest));
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("a manifest");
    let config: Value =
        serde_json::from_slice(&read(&oci::blob_path(&manifest.config.digest))).expect("a config");
    let labels = &config["config"]["Labels"];
    assert_eq!(
        labels["dev.drydock.original.manifest"],
        json!(risc.digest.to_string())
    );
    let name = format!("127.0.0.1:{}/team/app:1.0", served.port);
    assert_eq!(labels["dev.drydock.original.name"], json!(name));
    assert_eq!(config["unknown"], json!([1]));
    for (layer, diff_id) in manifest.layers.iter().zip(0..) {
        let tar = convert::decompress(&read(&oci::blob_path(&layer.digest))).expect("a layer");
        let claimed = &config["rootfs"]["diff_ids"][diff_id];
        assert_eq!(json!(Digest::of(&tar).to_string()), *claimed);
        assert!(layer.toc_digest().is_some());
    }
    let catalog: oci::Catalog = serde_json::from_slice(&read("v2/catalog.json")).expect("a list");
    assert_eq!(
        (catalog.images[0].name.as_str(), catalog.repositories.len()),
        ("app", 1)
    );
    let tags: oci::TagList =
        serde_json::from_slice(&read("v2/library/app/tags/list")).expect("a list");
    assert_eq!(tags.tags, ["1"]);
    let tokens = |log: &Vec<String>| log.iter().filter(|path| path.starts_with("/token")).count();
    assert_eq!(tokens(&served.log.lock().expect("the log")), 1);

    // The same image again is the same bytes; another tag beside it.
    let before = read("added.json");
    add("1.0", &["--as", "app:1", "--description", "An app"]).expect("added");
    assert_eq!(read("added.json"), before);
    add("single", &["--as", "app:2"]).expect("added");
    assert_eq!(super::read(&folder.0).len(), 2);

    for (tag, why) in [
        (
            "other",
            "no matching manifest for linux/riscv64 in the manifest list entries",
        ),
        ("foreign", "the image is for linux/amd64"),
        ("lying", "are not those that its config names"),
        ("nothing", "MANIFEST_UNKNOWN: manifest unknown"),
    ] {
        let error = add(tag, &[]).expect_err("refused");
        assert!(format!("{error:#}").contains(why), "{tag}: {error:#}");
    }
    assert_eq!(super::read(&folder.0).len(), 2);
}

#[test]
fn what_is_typed_wrong() {
    for args in [
        &[][..],
        &["--nothing"],
        &["UPPER"],
        &["a", "b"],
        &["a", "--as"],
        &["127.0.0.1:9/a"],
    ] {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        assert!(run(&args).is_err(), "{args:?}");
    }
}
