//! A store that is as it should be.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn a_model_is_found_by_name_with_all_its_layers() {
    let built = Built::with("deepseek-r1:32b");
    let found = built.find("deepseek-r1:32b").unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), small_model().bytes());
    assert_eq!(found.template.as_ref().unwrap().1, "{{ .Prompt }}");
    assert!(!found.has_deepseek_template());
    assert_eq!(found.system.as_deref(), Some("You are brief."));
    assert_eq!(found.parameters["stop"][0], "<｜User｜>");
    assert_eq!(found.licenses, ["MIT License\n\nCopyright"]);
    let manifest = fs::read(built.manifest("deepseek-r1:32b")).unwrap();
    assert_eq!(found.id, Digest::of(&manifest));
    found.verify().unwrap();
}

#[test]
fn upper_and_lower_case_are_no_difference_and_the_stores_own_way_is_shown() {
    let built = Built::with("hf.co/Unsloth/R1-GGUF:Q4_K_M");
    let found = built.find("hf.co/unsloth/r1-gguf:q4_k_m").unwrap();
    assert_eq!(found.name.to_string(), "hf.co/Unsloth/R1-GGUF:Q4_K_M");
}

#[test]
fn a_list_is_the_latest_first_with_sizes_of_all_layers() {
    let built = Built::with("old");
    built.add("new:1b", &built.layers());
    let old = fs::File::options().write(true).open(built.manifest("old")).unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
        .unwrap();
    fs::create_dir_all(built.manifest("broken").parent().unwrap()).unwrap();
    fs::write(built.manifest("broken"), "{}").unwrap();
    let listing = built.store.list();
    let names: Vec<String> = listing.models.iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["new:1b", "old:latest"]);
    let layers: usize = built.layers().iter().map(|(_, bytes)| bytes.len()).sum();
    let config = "{\"model_format\":\"gguf\"}".len();
    assert_eq!(listing.models[0].bytes, (layers + config) as u64);
    assert_eq!(listing.refused.len(), 1, "{:?}", listing.refused);
}

#[test]
fn stores_are_looked_at_in_order_and_each_once() {
    let home = Path::new("/home/me");
    let stores = Store::usual(Some("/home/me/.ollama/models".into()), Some(home));
    let roots: Vec<&Path> = stores.iter().map(Store::root).collect();
    let expected = [
        "/home/me/.ollama/models",
        "/usr/share/ollama/.ollama/models",
        "/var/lib/ollama/.ollama/models",
    ];
    assert_eq!(roots, expected.map(Path::new));
    assert_eq!(
        Store::usual(Some("/models".into()), None)[0].root(),
        Path::new("/models")
    );
    let (first, second) = (Built::with("a"), Built::with("b"));
    let both = [first.store.clone(), second.store.clone()];
    assert!(find(&both, &named("b")).unwrap().path.starts_with(second.folder.path()));
}

#[test]
fn the_manifest_of_january_2025_has_the_id_that_ollama_shows() {
    // Media type, digest and size of each layer, as published; the whole is 858 bytes.
    let layers = [
        (
            "model",
            "6150cb382311b69f09cc0f9a1b69fc029cbd742b66bb8ec531aa5ecf5c613e93",
            19_851_335_552_u64,
        ),
        (
            "template",
            "369ca498f347f710d068cbb38bf0b8692dd3fa30f30ca2ff755e211c94768150",
            387,
        ),
        (
            "license",
            "6e4c38e1172f42fdbff13edf9a7a017679fb82b0fde415a3e8b3c31c6ed4a4e4",
            1065,
        ),
        (
            "params",
            "f4d24e9138dd4603380add165d2b0d970bef471fac194b436ebd50e6147c6588",
            148,
        ),
    ];
    let written = layers.map(|(kind, digest, size)| {
        format!(
            "{{\"mediaType\":\"application/vnd.ollama.image.{kind}\",\"digest\":\"sha256:{digest}\",\"size\":{size}}}"
        )
    });
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":\
         {{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\
         \"sha256:c7f3ea903b50b3c9a42221b265ade4375d1bb5e3b6b6731488712886a8c41ff0\",\"size\":488}},\"layers\":[{}]}}",
        written.join(",")
    );
    let built = Built::empty();
    let path = built.manifest("deepseek-r1:32b");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, manifest).unwrap();
    let listing = built.store.list();
    assert_eq!(listing.models[0].id.short(), "38056bbcbb2d");
    assert_eq!(listing.models[0].bytes, 19_851_337_640);
}

#[test]
fn a_blob_of_a_very_old_store_is_found() {
    let built = Built::with("a");
    let model = built.blob(&small_model().bytes());
    let old = model.with_file_name(Digest::of(&small_model().bytes()).to_string());
    fs::rename(model, &old).unwrap();
    let found = built.find("a").unwrap();
    assert_eq!(found.path, old);
    found.verify().unwrap();
}

#[test]
fn a_models_config_messages_and_sizes_are_told() {
    let built = Built::empty();
    let mut layers = built.layers();
    layers.push(("messages", b"[{\"role\":\"user\",\"content\":\"hi\"}]".to_vec()));
    layers.push(("projector", b"x".to_vec()));
    built.add("a", &layers);
    let found = built.find("a").unwrap();
    assert_eq!(found.details.format, "gguf");
    assert_eq!(found.details.family, "");
    assert_eq!(
        (found.messages[0].role.as_str(), found.messages[0].content.as_str()),
        ("user", "hi")
    );
    assert!(found.has_projector);
    let listed = &built.store.list().models[0];
    assert_eq!((listed.bytes, listed.modified), (found.bytes, found.modified));
    assert_eq!(listed.details, found.details);
    fs::remove_file(built.blob(b"{\"model_format\":\"gguf\"}")).unwrap();
    assert_eq!(built.store.list().models[0].details, crate::store::Details::default());
}
