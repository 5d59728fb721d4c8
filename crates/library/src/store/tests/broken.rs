//! A store that something has happened to: each time one line, and what to do.

use super::*;

#[test]
fn a_model_that_is_not_there_is_answered_with_those_that_are() {
    let built = Built::with("deepseek-r1:7b");
    built.check_refused(
        "deepseek-r1:32b",
        &["deepseek-r1:32b", "did you mean deepseek-r1:7b", "looked in"],
    );
    built.check_refused("zzz", &["no model is called zzz:latest", "tandem list"]);
}

#[test]
fn a_blob_that_is_missing_cut_or_changed_is_named() {
    let built = Built::with("a");
    let model = small_model().bytes();
    fs::write(built.blob(&model), &model[1..]).unwrap();
    let (found, expected) = ((model.len() - 1).to_string(), model.len().to_string());
    built.check_refused("a", &["model file", &found, &expected, "pull the model again"]);
    fs::remove_file(built.blob(&model)).unwrap();
    built.check_refused("a", &["a:latest lacks its model file", "pull the model again"]);
    fs::write(built.blob(&model), &model).unwrap();
    fs::write(built.blob(b"{{ .Prompt }}"), b"{{ .prompt }}").unwrap();
    built.check_refused("a", &["template", "other content", "delete that file"]);
}

#[test]
fn the_model_file_is_compared_with_its_digest_on_request() {
    let built = Built::with("a");
    let model = small_model().bytes();
    let mut changed = model.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(built.blob(&model), changed).unwrap();
    let said = built.find("a").unwrap().verify().err().unwrap().to_string();
    assert!(said.contains("model file") && said.contains("other content"), "{said}");
}

#[test]
fn a_manifest_that_is_none_is_refused() {
    let built = Built::with("a");
    let digest = format!("sha256:{}", "../".repeat(20));
    let config = "{\"mediaType\":\"x\",\"digest\":\"DIGEST\",\"size\":1}";
    for (text, word) in [
        ("", "is not a manifest"),
        ("not JSON\nat all", "is not a manifest"),
        ("{}", "missing field"),
        ("{\"layers\":[]}", "missing field"),
        (
            &format!("{{\"config\":{},\"layers\":[]}}", config.replace("DIGEST", &digest)),
            "is not `sha256:` and 64",
        ),
    ] {
        fs::write(built.manifest("a"), text).unwrap();
        built.check_refused("a", &[word, "pull the model again"]);
    }
    fs::write(built.manifest("a"), vec![b' '; (1 << 20) + 1]).unwrap();
    built.check_refused("a", &["larger than 1048576 bytes"]);
}

#[test]
fn a_model_is_one_gguf_file_without_an_adapter() {
    let built = Built::empty();
    let model = small_model().bytes();
    built.add("none", &[("template", b"t".to_vec())]);
    built.check_refused("none", &["0 GGUF files"]);
    built.add("two", &[("model", model.clone()), ("model", model.clone())]);
    built.check_refused("two", &["2 GGUF files"]);
    built.add("changed", &[("model", model), ("adapter", b"x".to_vec())]);
    built.check_refused("changed", &["adapter", "not supported"]);
}

#[test]
#[cfg(unix)]
fn what_is_no_regular_file_is_refused_before_it_is_opened() {
    let built = Built::with("a");
    let blob = built.blob(&small_model().bytes());
    fs::remove_file(&blob).unwrap();
    let is_made = std::process::Command::new("mkfifo")
        .arg(&blob)
        .status()
        .unwrap()
        .success();
    assert!(is_made, "mkfifo");
    built.check_refused("a", &["is a pipe"]);
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
    built.check_refused("a", &["is a directory"]);
    fs::remove_dir(&blob).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &blob).unwrap();
    built.check_refused("a", &["is a device"]);
    let manifest = built.manifest("a");
    fs::remove_file(&manifest).unwrap();
    fs::create_dir(&manifest).unwrap();
    built.check_refused("a", &["is a directory"]);
}
