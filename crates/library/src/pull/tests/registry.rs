//! Manifests, tokens, and what is in the store afterwards.

use std::ops::ControlFlow;

use serde_json::json;
use tempfile::TempDir;

use super::*;

#[test]
fn a_model_is_pulled_and_can_be_found() {
    let published = Published::new(&[7; 100_000]);
    let (weights, manifest) = (published.weights(), published.manifest.clone());
    let server = Server::start(move |request| published.answer(request));
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let (result, reports) = pull_into(&store, &puller(&[&server]), &server);
    assert_eq!(result.unwrap(), Digest::of(&manifest));

    let name = format!("{}/library/tiny", server.host()).parse().unwrap();
    let found = crate::store::find(&[store.store().clone()], &name).unwrap();
    found.verify().unwrap();
    assert_eq!(found.template.unwrap().1, "{{ .Prompt }}");

    let statuses: Vec<String> = reports.iter().map(Progress::status).collect();
    assert_eq!(statuses.first().unwrap(), "pulling manifest");
    assert_eq!(statuses[1], format!("pulling {}", weights.short()));
    let last: Vec<&str> = statuses.iter().rev().take(3).map(String::as_str).collect();
    assert_eq!(last, ["success", "writing manifest", "verifying sha256 digest"]);
    let (first, end) = ((0, 100_000), (100_000, 100_000));
    for (completed_bytes, total_bytes) in [first, end] {
        let report = Progress::File {
            digest: weights.clone(),
            total_bytes,
            completed_bytes,
        };
        assert!(reports.contains(&report), "{report:?}");
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let published = Published::new(b"weights");
    let server = Server::start(move |request| published.answer(request));
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    pull_into(&store, &puller(&[&server]), &server).0.unwrap();
    assert_eq!(server.asked().len(), 4);
    pull_into(&store, &puller(&[&server]), &server).0.unwrap();
    assert_eq!(server.asked().len(), 5, "only the manifest is asked for again");
}

#[test]
fn a_model_that_is_not_there_is_called_so_as_ollama_does() {
    let error = refused(|_| Reply::status(404));
    assert_eq!(error, "pull model manifest: file does not exist");
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused() {
    let layer = |digest: &str, size: u64| json!({ "mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": size });
    let good = format!("sha256:{}", "0a".repeat(32));
    let adapter = json!({ "mediaType": "application/vnd.ollama.image.adapter", "digest": good, "size": 3 });
    let with = |layers: serde_json::Value| json!({ "config": layer(&good, 3), "layers": layers }).to_string();
    for (manifest, expected) in [
        ("{".to_owned(), "a manifest that cannot be used"),
        ("[]".to_owned(), "a manifest that cannot be used"),
        (
            with(json!([layer("sha256:../../../../etc/cron.d/x", 3)])),
            "is not `sha256:` and 64 hexadecimal digits",
        ),
        (
            with(json!([layer(&format!("sha256:{}/", "0a".repeat(31)), 3)])),
            "is not `sha256:` and 64 hexadecimal digits",
        ),
        (with(json!([layer(&good, u64::MAX)])), "too many for what it is"),
        (
            with(json!([layer(&good, 4)])),
            "two layers of one digest have different sizes",
        ),
        (with(json!([])), "is not one GGUF file"),
        (with(json!([layer(&good, 3), layer(&good, 3)])), "is not one GGUF file"),
        (with(json!(vec![layer(&good, 3); 257])), "more than 256 layers"),
        (with(json!([layer(&good, 3), adapter])), "has an adapter"),
    ] {
        let error = refused(move |_| Reply::ok(manifest.as_bytes()));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_manifest_has_its_bound() {
    let large = vec![b' '; (1 << 20) + 1];
    let error = refused(move |_| Reply::ok(&large));
    assert_eq!(
        error,
        "the manifest is larger than 1048576 bytes, too large for what it should be"
    );
}

#[test]
fn a_registry_that_wants_a_token_gets_the_one_it_gives() {
    let published = Published::new(b"weights");
    let server = Server::start(move |request| {
        if request.path.starts_with("/token?") {
            return Reply::ok(br#"{"token":"let-me-read"}"#);
        }
        if request.header("authorization") == Some("Bearer let-me-read") {
            return published.answer(request);
        }
        let host = request.header("host").unwrap();
        let challenge =
            format!(r#"Bearer realm="http://{host}/token",service="{host}",scope="repository:library/tiny:pull""#);
        Reply::status(401).with("WWW-Authenticate", &challenge)
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    pull_into(&store, &puller(&[&server]), &server).0.unwrap();
    let asked = server.asked();
    let tokens: Vec<_> = asked
        .iter()
        .filter(|request| request.path.starts_with("/token?"))
        .collect();
    let [token] = tokens.as_slice() else {
        panic!("one token serves the whole pull, asked was for {tokens:?}");
    };
    assert!(
        token.path.ends_with("&scope=repository%3Alibrary%2Ftiny%3Apull"),
        "{}",
        token.path
    );
    assert_eq!(token.header("authorization"), None);
}

#[test]
fn a_token_is_not_asked_for_elsewhere() {
    let other = Server::start(|_| Reply::ok(br#"{"token":"secret"}"#));
    let challenge = format!(r#"Bearer realm="{}/token""#, other.address());
    let server = Server::start(move |_| Reply::status(401).with("WWW-Authenticate", &challenge));
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let (result, _) = pull_into(&store, &puller(&[&server, &other]), &server);
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("it is another host that would be asked for a token"),
        "{error}"
    );
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[test]
fn a_registry_that_wants_an_account_is_told_of() {
    let wants = [
        "Basic realm=\"x\"",
        "Bearer nothing",
        "Bearer realm=\"http://0x7f.1/token\"",
    ];
    for challenge in wants {
        let error = refused(move |_| Reply::status(401).with("WWW-Authenticate", challenge));
        assert_eq!(
            error,
            "HOST wants a sign-in for this model, which is not supported: pull a public model"
        );
    }
}

#[test]
fn no_error_shows_a_token() {
    let answers = [
        &br#"{"token":"sesame and more"}"#[..],
        br#"{"token":"sesame"}"#,
        br#"{"token":["sesame"]}"#,
        b"sesame",
    ];
    for answer in answers {
        let error = refused(move |request| {
            if request.path.starts_with("/token") {
                return Reply::ok(answer);
            }
            let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            Reply::status(401).with("WWW-Authenticate", &realm)
        });
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn the_caller_can_stop_at_every_step() {
    let published = Published::new(b"weights");
    let server = Server::start(move |request| published.answer(request));
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let name: ModelName = format!("{}/library/tiny", server.host()).parse().unwrap();
    let mut steps = 0;
    loop {
        let mut left = steps;
        let mut report = |_| {
            left -= 1;
            if left < 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        match puller(&[&server]).from_registry(&name, &store, &mut report) {
            Ok(_) => break,
            // After the last step it is there, whether or not the caller wants to hear of it.
            Err(error) => assert!(matches!(error, PullError::Stopped), "{error}"),
        }
        steps += 1;
    }
    assert!(steps >= 6, "only {steps} steps");
}

#[test]
fn two_pulls_of_one_model_do_not_write_the_same_file() {
    let published = Published::new(b"weights");
    let weights = published.weights();
    let server = Server::start(move |request| published.answer(request));
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let _other = store.partial(&weights, 7).unwrap();
    let (result, _) = pull_into(&store, &puller(&[&server]), &server);
    assert!(matches!(result, Err(PullError::Busy)), "{result:?}");
}
