//! Models made of others and of uploaded files: what is written, byte for byte, and what is refused.

use serde_json::json;

use super::own::{files, own};
use super::*;
use crate::store::{Details, Message, Origin, Recipe, list};

fn recipe(from: &str) -> Recipe {
    Recipe::of(Origin::Model(named(from)))
}

fn parameters(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn a_model_made_of_another_has_its_weights_and_what_was_said() {
    let theirs = Built::with("a");
    let before = files(theirs.folder.path());
    let (_folder, own) = own();
    let stores = [own.store().clone(), theirs.store.clone()];
    let mut made = recipe("a");
    made.parameters = parameters(json!({"num_ctx": 4096, "temperature": 0.1}));
    made.system = Some("Be <kind> & short.".to_owned());
    made.licenses = vec!["Apache".to_owned(), "MIT License\n\nCopyright".to_owned()];
    made.messages = vec![Message {
        role: "user".to_owned(),
        content: "<hi>".to_owned(),
    }];
    let id = own.create(&stores, &named("b"), &made).unwrap();
    let found = find(&stores, &named("b")).unwrap();
    assert_eq!(found.id, id);
    assert_eq!(found.path, theirs.blob(&small_model().bytes()));
    assert_eq!(found.system, made.system);
    assert_eq!(found.template.as_ref().unwrap().1, "{{ .Prompt }}");
    assert_eq!(found.licenses, ["MIT License\n\nCopyright", "Apache"]);
    assert_eq!(found.messages, made.messages);
    let expected = json!({"num_ctx": 4096, "temperature": 0.1, "stop": ["<｜User｜>"]});
    assert_eq!(found.parameters, parameters(expected));
    assert_eq!(files(theirs.folder.path()), before);
    // Without what was said it is the origin again.
    let mut made = recipe("b");
    (made.system, made.template) = (Some(String::new()), Some("{{ .System }}".to_owned()));
    own.create(&stores, &named("b"), &made).unwrap();
    let found = find(&stores, &named("b")).unwrap();
    assert_eq!((found.system, found.messages.len()), (None, 1));
    assert_eq!(found.template.unwrap().1, "{{ .System }}");
}

#[test]
fn what_is_written_is_byte_for_byte_ollamas() {
    let (_folder, own) = own();
    let model = small_model().bytes();
    let digest = Digest::of(&model);
    own.put_blob(&digest, &mut model.as_slice(), 1 << 20).unwrap();
    let mut made = Recipe::of(Origin::Blob(digest.clone()));
    made.parameters = parameters(json!({"stop": ["<｜User｜>"], "num_ctx": 1}));
    let stores = [own.store().clone()];
    own.create(&stores, &named("a"), &made).unwrap();
    let written = b"{\"num_ctx\":1,\"stop\":[\"\\u003c\xef\xbd\x9cUser\xef\xbd\x9c\\u003e\"]}\n";
    let params = Digest::of(written);
    assert_eq!(own.has_blob(&params).unwrap(), Some(written.len() as u64));
    let config = format!(
        "{{\"model_format\":\"gguf\",\"model_family\":\"qwen2\",\"model_families\":[\"qwen2\"],\"model_type\":\"672\",\
         \"file_type\":\"Q4_K\",\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[\"{digest}\",\"{params}\"]}}}}\n"
    );
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":\
         {{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":\
         [{{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"{digest}\",\"size\":{}}},\
         {{\"mediaType\":\"application/vnd.ollama.image.params\",\"digest\":\"{params}\",\"size\":{}}}]}}",
        Digest::of(config.as_bytes()),
        config.len(),
        model.len(),
        written.len()
    );
    let path = own.root().join("manifests/registry.ollama.ai/library/a/latest");
    assert_eq!(fs::read_to_string(path).unwrap(), manifest);
    let details = Details {
        format: "gguf".to_owned(),
        family: "qwen2".to_owned(),
        families: vec!["qwen2".to_owned()],
        parameter_size: "672".to_owned(),
        quantization_level: "Q4_K".to_owned(),
    };
    assert_eq!(find(&stores, &named("a")).unwrap().details, details);
    assert_eq!(list(&stores).models[0].details, details);
}

#[test]
fn what_cannot_be_made_is_refused_and_no_name_appears() {
    let (_folder, own) = own();
    let stores = [own.store().clone()];
    let refuse = |recipe: &Recipe, word: &str| {
        let error = own.create(&stores, &named("new"), recipe).unwrap_err();
        let (said, shown) = (error.to_string(), error.without_paths());
        assert!(said.contains(word) && shown.contains(word), "{said}\n{shown}");
        assert!(!shown.contains(own.root().to_str().unwrap()), "{shown}");
        assert!(list(&stores).models.is_empty());
    };
    refuse(&recipe("absent"), "called");
    let digest = Digest::of(b"GGUF");
    refuse(&Recipe::of(Origin::Blob(digest.clone())), "upload it first");
    own.put_blob(&digest, &mut &b"GGUF"[..], 4).unwrap();
    refuse(&Recipe::of(Origin::Blob(digest)), "ends too early");
    let digest = Digest::of(b"");
    own.put_blob(&digest, &mut &b""[..], 4).unwrap();
    refuse(&Recipe::of(Origin::Blob(digest)), "ends too early");
    let part = small_model().unsigned("split.count", 2).bytes();
    let digest = Digest::of(&part);
    own.put_blob(&digest, &mut part.as_slice(), 1 << 20).unwrap();
    refuse(&Recipe::of(Origin::Blob(digest)), "the first of 2 parts");
    let model = small_model().bytes();
    let digest = Digest::of(&model);
    own.put_blob(&digest, &mut model.as_slice(), 1 << 20).unwrap();
    let mut long = Recipe::of(Origin::Blob(digest));
    long.system = Some("x".repeat((4 << 20) + 1));
    refuse(&long, "more than 4194304 bytes");
}
