//! Archives that attack: each is refused with a sentence that names the entry or the limit, and leaves nothing.

mod fetch_support;

use std::fs;
use std::time::Duration;

use fetch_support::{Scene, TarEntry, file, folder, gzip, hard_link, link, listing, special, tar, tar_gz, text, zip};
use testkit::archive_server::{ArchiveServer, Reply};

const MIB: usize = 1024 * 1024;

/// Serves the bytes under a name without an ending and gives the refusal.
async fn refusal_of(bytes: Vec<u8>) -> String {
    let server = ArchiveServer::start().await;
    Scene::new(server.serve("/archive", Reply::Whole(bytes))).refusal().await
}

#[tokio::test]
async fn names_that_leave_the_folder_are_refused() {
    for name in [
        "../escape",
        "a/../../escape",
        "/etc/escape",
        "//escape",
        "a/..",
        "..\\escape",
        "a\\b",
        "C:/escape",
        "C:escape",
        "./../escape",
    ] {
        for bytes in [tar_gz(&[file("ok", "1"), file(name, "owned")]), zip(&[("ok", 0, b"1"), (name, 0, b"owned")])] {
            let refusal = refusal_of(bytes).await;
            assert!(refusal.starts_with("the entry \"") && refusal.contains(" has a"), "{name}: {refusal}");
        }
    }
    let refusal = refusal_of(zip(&[("nul\0name", 0, b"owned")])).await;
    assert!(refusal.contains("NUL"), "{refusal}");
}

#[tokio::test]
async fn a_pax_record_cannot_bring_in_what_a_header_may_not() {
    for record in ["path=../escape\n", "path=/abs\n", "path=nul\0x\n"] {
        let record = format!("{} {record}", record.len() + 3);
        let bytes =
            tar_gz(&[TarEntry { kind: b'x', content: record.as_bytes(), ..file("pax", "") }, file("short", "owned")]);
        assert!(refusal_of(bytes).await.starts_with("the entry \""), "{record}");
    }
    let record = "15 linkpath=..\n";
    let bytes = tar_gz(&[TarEntry { kind: b'x', content: record.as_bytes(), ..file("pax", "") }, link("l", "ok")]);
    assert!(refusal_of(bytes).await.contains("points out of the archive"));
}

#[tokio::test]
async fn links_that_leave_the_folder_are_refused() {
    for (name, target) in [
        ("l", "/etc/passwd"),
        ("l", "../beside"),
        ("d/l", "../../beside"),
        ("l", ".."),
        ("d/l", "../.."),
        ("l", "d/../../beside"),
        ("l", "//etc"),
    ] {
        for bytes in
            [tar_gz(&[folder("d/"), link(name, target)]), zip(&[("d/", 0, b""), (name, 0o120_777, target.as_bytes())])]
        {
            let refusal = refusal_of(bytes).await;
            assert!(refusal.starts_with("the link \""), "{name} -> {target}: {refusal}");
        }
    }
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    // A file below a link, the link replaced by another, a chain of links, a folder entry upon a link.
    let through = tar_gz(&[folder("real/"), link("l", "real"), file("l/owned", "x")]);
    assert!(refusal_of(through).await.contains("lies below a link or a file"));
    let swapped = tar_gz(&[folder("l/"), file("l/ok", "1"), link("l", "real"), file("l/owned", "x")]);
    assert!(refusal_of(swapped).await.contains("takes the place of a folder"));
    let chained = tar_gz(&[folder("a/b/c/"), link("a/b/c/up", "../../.."), link("x", "a/b/c/up/..")]);
    assert!(refusal_of(chained).await.contains(".. behind a name"));
    let zipped = zip(&[("real/", 0, b""), ("l", 0o120_777, b"real"), ("l/owned", 0, b"x")]);
    assert!(refusal_of(zipped).await.contains("lies below a link or a file"));
    let below_file = tar_gz(&[file("f", "1"), file("f/g", "2")]);
    assert!(refusal_of(below_file).await.contains("lies below a link or a file"));
}

#[tokio::test]
async fn a_file_or_folder_replaces_a_link_and_does_not_follow_it() {
    let server = ArchiveServer::start().await;
    let bytes = tar_gz(&[
        file("kept", "kept"),
        link("l", "kept"),
        file("l", "new"),
        link("m", "kept"),
        folder("m/"),
        file("m/f", "1"),
    ]);
    let scene = Scene::new(server.serve("/x.tgz", Reply::Whole(bytes)));
    let code = scene.fetched().await;
    assert_eq!(listing(&code), ["kept", "l", "m/", "m/f"]);
    assert_eq!((text(code.join("kept")).as_str(), text(code.join("l")).as_str()), ("kept", "new"));
}

#[tokio::test]
async fn a_replaced_file_does_not_change_its_hard_link() {
    let server = ArchiveServer::start().await;
    let bytes = tar_gz(&[file("a", "one"), hard_link("b", "a"), file("b", "two")]);
    let scene = Scene::new(server.serve("/x.tgz", Reply::Whole(bytes)));
    let code = scene.fetched().await;
    assert_eq!((text(code.join("a")).as_str(), text(code.join("b")).as_str()), ("one", "two"));
}

#[tokio::test]
async fn hard_links_lead_to_files_extracted_before_and_nowhere_else() {
    for entries in [
        vec![hard_link("h", "../beside")],
        vec![hard_link("h", "/etc/passwd")],
        vec![hard_link("h", "missing")],
        vec![folder("d/"), hard_link("h", "d")],
        vec![file("f", "1"), link("l", "f"), hard_link("h", "l")],
        vec![folder("d/"), file("d/f", "1"), link("l", "d"), hard_link("h", "l/f")],
        vec![hard_link("h", "h")],
    ] {
        let refusal = refusal_of(tar_gz(&entries)).await;
        assert!(refusal.starts_with("the link \"h\" is a hard link") || refusal.contains(" has a"), "{refusal}");
    }
}

#[tokio::test]
async fn devices_pipes_and_sparse_files_are_refused() {
    for (kind, word) in
        [(b'3', "device"), (b'4', "device"), (b'6', "named pipe"), (b'S', "sparse"), (b'V', "unknown kind")]
    {
        let refusal = refusal_of(tar_gz(&[special("thing", kind, "")])).await;
        assert!(refusal.contains("\"thing\"") && refusal.contains(word) || kind == b'S', "{refusal}");
    }
    for mode in [0o020_666, 0o060_666, 0o010_666, 0o140_666] {
        let refusal = refusal_of(zip(&[("thing", mode, b"")])).await;
        assert!(refusal.contains("\"thing\" is a device, pipe or socket"), "{refusal}");
    }
    let sparse = TarEntry { kind: b'x', content: b"22 GNU.sparse.major=1\n", ..file("pax", "") };
    assert!(refusal_of(tar_gz(&[sparse, file("f", "1")])).await.contains("sparse"));
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_ratio() {
    let zeros = vec![0; 20 * MIB];
    let content = std::str::from_utf8(&zeros).unwrap();
    for bytes in [tar_gz(&[file("zeros", content)]), zip(&[("zeros", 0, &zeros)])] {
        assert!(bytes.len() < 100_000);
        let refusal = refusal_of(bytes).await;
        assert!(refusal.contains("more than 200 times its size"), "{refusal}");
    }
    // Not in a file, but in the headers, behind the end, and in what is skipped.
    let behind = gzip(&[tar(&[file("f", "1")]), zeros.clone()].concat());
    assert!(refusal_of(behind).await.contains("more than 200 times"));
    let name = TarEntry { kind: b'L', ..file("././@LongLink", content) };
    assert!(refusal_of(tar_gz(&[name, file("f", "1")])).await.contains("header is larger than 1 MiB"));
    let global = TarEntry { kind: b'g', ..file("pax_global_header", content) };
    assert!(refusal_of(tar_gz(&[global, file("f", "1")])).await.contains("header is larger than 1 MiB"));
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_bytes() {
    let server = ArchiveServer::start().await;
    let zeros = vec![0; 3 * MIB];
    let content = std::str::from_utf8(&zeros).unwrap();
    let two = [tar_gz(&[file("a", content), file("b", content)]), zip(&[("a", 0, &zeros), ("b", 0, &zeros)])];
    for bytes in two {
        let mut scene = Scene::new(server.serve("/archive", Reply::Whole(bytes)));
        scene.limits.extracted_bytes = 4 * MIB as u64;
        let refusal = scene.refusal().await;
        assert!(refusal.contains("larger than 4 MiB together"), "{refusal}");
    }
}

#[tokio::test]
async fn a_zip_that_lies_about_its_sizes_is_judged_by_what_comes_out() {
    let zeros = vec![0; 20 * MIB];
    let mut bytes = zip(&[("zeros", 0, &zeros)]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in [22, central + 24] {
        bytes[at..at + 4].copy_from_slice(&7_u32.to_le_bytes());
    }
    let refusal = refusal_of(bytes).await;
    assert!(refusal.contains("more than 200 times") || refusal.contains("damaged"), "{refusal}");
}

#[tokio::test]
async fn entries_are_counted_with_the_folders_that_they_imply() {
    let server = ArchiveServer::start().await;
    let names: Vec<String> = (0..12).map(|at| format!("d{at}/f")).collect();
    let entries: Vec<_> = names.iter().map(|name| file(name, "")).collect();
    let zipped: Vec<(&str, u32, &[u8])> = names.iter().map(|name| (name.as_str(), 0, &b""[..])).collect();
    for bytes in [tar_gz(&entries), zip(&zipped)] {
        let mut scene = Scene::new(server.serve("/archive", Reply::Whole(bytes)));
        scene.limits.entries = 20;
        assert_eq!(scene.refusal().await, "there are more than 20 files, folders and links");
    }
    let mut scene = Scene::new(server.serve("/archive", Reply::Whole(zip(&zipped))));
    scene.limits.entries = 11;
    assert_eq!(scene.refusal().await, "there are more than 11 files, folders and links", "before any is extracted");
}

#[tokio::test]
async fn names_too_long_or_too_deep_are_refused() {
    let deep = "d/".repeat(45) + "f";
    let server = ArchiveServer::start().await;
    let mut scene = Scene::new(server.serve("/x.tgz", Reply::Whole(tar_gz(&[file(&deep, "")]))));
    scene.limits.path_depth = 45;
    assert!(scene.refusal().await.contains("lies 46 folders deep; at most 45"));
    scene.limits.path_bytes = 90;
    assert!(scene.refusal().await.contains("name of 91 bytes; at most 90"));
    let long = "n".repeat(256);
    assert!(refusal_of(zip(&[(&long, 0, b"")])).await.contains("more than 255 bytes"));
}

#[tokio::test]
async fn a_truncated_archive_is_refused_wherever_it_is_cut() {
    let noise: String =
        (0..30_000_u32).map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
    let plain = tar(&[file("a", &noise), file("b", "1")]);
    let (packed, zipped) = (gzip(&plain), zip(&[("a", 0, noise.as_bytes())]));
    for cut in [5, 100, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
        assert_eq!(refusal_of(packed[..cut].to_vec()).await, "the archive is truncated", "{cut}");
    }
    for cut in [300, 1000, 20_000, 31_000] {
        let refusal = refusal_of(gzip(&plain[..cut])).await;
        assert!(refusal.contains("truncated") || refusal.contains("damaged"), "{cut}: {refusal}");
    }
    for cut in [5, zipped.len() / 2, zipped.len() - 1] {
        let refusal = refusal_of(zipped[..cut].to_vec()).await;
        assert!(refusal.contains("truncated") || refusal.contains("damaged"), "{cut}: {refusal}");
    }
}

#[tokio::test]
async fn a_damaged_archive_is_refused() {
    let noise: String =
        (0..3000_u32).map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
    for bytes in [tar_gz(&[file("a", &noise)]), zip(&[("a", 0, noise.as_bytes())])] {
        let mut bytes = bytes;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        let refusal = refusal_of(bytes).await;
        assert!(refusal.contains("damaged") || refusal.contains("truncated"), "{refusal}");
    }
    let mut trailing = tar_gz(&[file("a", "1")]);
    trailing.extend_from_slice(b"trailing garbage");
    assert!(refusal_of(trailing).await.contains("damaged"));
    assert!(refusal_of(gzip(b"not a tar archive, just text")).await.contains("damaged"));
    assert!(refusal_of(gzip(&[b'x'; 2048])).await.contains("damaged"));
}

#[tokio::test]
async fn a_mislabelled_archive_is_refused_and_says_what_it_is() {
    let server = ArchiveServer::start().await;
    let (gz, zip, page) = (tar_gz(&[file("a", "1")]), zip(&[("a", 0, b"1")]), b"<!doctype html>".to_vec());
    for (path, reply, words) in [
        ("/x.zip", Reply::Whole(gz), "ends like a zip archive, but the content is gzip"),
        ("/x.tar.gz", Reply::Whole(zip), "ends like a tar.gz archive, but the content is zip"),
        ("/y.zip", Reply::Typed(page.clone(), "text/html; charset=utf-8"), "but a web page"),
        ("/download", Reply::Whole(page), "neither a zip nor a tar.gz"),
        ("/nothing.zip", Reply::Whole(Vec::new()), "but an empty file"),
    ] {
        let refusal = Scene::new(server.serve(path, reply)).refusal().await;
        assert!(refusal.contains(words), "{path}: {refusal}");
    }
}

#[tokio::test]
async fn an_archive_without_a_file_is_refused() {
    for bytes in [tar_gz(&[]), gzip(b""), zip(&[]), tar_gz(&[folder("d/")])] {
        assert_eq!(refusal_of(bytes).await, "the archive holds no file");
    }
}

#[tokio::test]
async fn an_archive_in_an_archive_stays_packed() {
    let server = ArchiveServer::start().await;
    let inner = tar_gz(&[file("../escape", "owned")]);
    let bytes = zip(&[("inner.tar.gz", 0, &inner)]);
    let scene = Scene::new(server.serve("/x.zip", Reply::Whole(bytes)));
    assert_eq!(listing(&scene.fetched().await), ["inner.tar.gz"]);
}

#[tokio::test]
async fn control_characters_of_a_name_do_not_reach_the_terminal() {
    let refusal = refusal_of(tar_gz(&[file("../\x1b]0;owned\x07\x1b[2J", "x")])).await;
    assert!(refusal.contains("..") && !refusal.chars().any(char::is_control), "{refusal:?}");
}

#[tokio::test]
async fn an_unsupported_zip_says_so() {
    let mut bytes = zip(&[("a", 0, b"1")]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut encrypted = bytes.clone();
    for at in [6, central + 8] {
        encrypted[at] |= 1;
    }
    assert!(refusal_of(encrypted).await.contains("encryption"));
    for at in [8, central + 10] {
        bytes[at] = 14;
    }
    assert!(refusal_of(bytes).await.contains("not supported"));
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing_of_the_archive() {
    let server = ArchiveServer::start().await;
    let mut scene = Scene::new(server.serve("/x.tgz", Reply::Whole(tar_gz(&[file("a", "1")]))));
    scene.request.checksum_sha256 = Some("f".repeat(64));
    assert!(scene.refusal().await.contains("SHA-256"));
    assert_eq!(fs::read_dir(scene.workspace()).unwrap().count(), 0);
}

#[tokio::test]
async fn cancelling_in_the_middle_leaves_nothing_and_no_thread_writing() {
    let server = ArchiveServer::start().await;
    let noise: String =
        (0..300_000_u32).map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
    let bytes = tar_gz(&[file("a", &noise), file("b", &noise)]);
    for path in ["/x.tgz", "/unknown"] {
        let at = bytes.len() * 3 / 4;
        let scene = Scene::new(server.serve(path, Reply::StallAfter(bytes.clone(), at)));
        let extracting = || fs::metadata(scene.workspace().join(".fetch/code/a")).is_ok_and(|meta| meta.len() > 0);
        let cancelling = async {
            fetch_support::until("a file is being written", extracting).await;
            scene.cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(5), scene.run()), cancelling);
        assert!(outcome.expect("it ends soon").unwrap_err().is_cancelled());
    }
}
