//! Who is connected to, and who is not.

use tempfile::TempDir;

use super::*;
use crate::pull::Proxy;

/// The error of a pull of `name` by someone who may connect to `hosts`.
#[track_caller]
fn pull_by(hosts: &[&str], name: &str) -> PullError {
    let settings = Settings {
        hosts: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
        patience: patience(),
        ..Settings::default()
    };
    let folder = TempDir::new().unwrap();
    let name: ModelName = name.parse().unwrap();
    let mut report = |_| ControlFlow::Continue(());
    let puller = Puller::new(&settings).unwrap();
    let result = puller.from_registry(&name, &OwnStore::at(folder.path()), &mut report);
    result.unwrap_err()
}

#[test]
fn a_host_that_is_not_allowed_is_not_connected_to() {
    let server = Server::start(|_| Reply::status(500));
    let name = format!("{}/library/tiny", server.host());
    for hosts in [&[][..], &["registry.ollama.ai"], &["127.0.0.1:1"]] {
        let error = pull_by(hosts, &name);
        assert!(matches!(error, PullError::Host { .. }), "{error}");
    }
    for host in ["0x7f.1", "127.1", "2130706433", "localhost", "169.254.169.254"] {
        let error = pull_by(&[&server.address()], &format!("{host}/library/tiny"));
        assert!(matches!(error, PullError::Host { .. }), "{host}: {error}");
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}

#[test]
fn the_usual_hosts_are_ollamas_registry_and_the_hub() {
    let folder = TempDir::new().unwrap();
    let mut report = |_| ControlFlow::Continue(());
    let puller = Puller::new(&Settings::default()).unwrap();
    let name: ModelName = "evil.example/library/tiny".parse().unwrap();
    let error = puller.from_registry(&name, &OwnStore::at(folder.path()), &mut report);
    let expected = "models are not pulled from `evil.example`: allowed are registry.ollama.ai, huggingface.co, hf.co; whoever \
                    runs this program can allow more";
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[test]
fn a_name_that_leads_into_this_machine_is_refused() {
    // Allowed by name, so that it is looked up, but not together with its port.
    for hosts in [
        "localhost",
        "https://localhost",
        "http://localhost",
        "127.0.0.1",
        "http://127.0.0.1",
    ] {
        let name = format!("{}/library/tiny", hosts.rsplit('/').next().unwrap());
        let error = pull_by(&[hosts], &name);
        assert!(matches!(error, PullError::PrivateAddress { .. }), "{hosts}: {error}");
    }
}

#[test]
fn a_redirection_into_a_network_is_not_followed() {
    let inner = Server::start(|_| Reply::ok(b"secret"));
    let host = inner.host();
    let port = host.rsplit(':').next().unwrap();
    for (target, expected) in [
        (inner.address(), "it is not https"),
        (format!("https://{host}/"), "it is no host of the world"),
        (format!("https://localhost:{port}/"), "it is no host of the world"),
        (format!("https://[::1]:{port}/"), "it is not understood"),
        (format!("https://0x7f.1:{port}/"), "it is not understood"),
        (format!("https://2130706433:{port}/"), "it is not understood"),
        (format!("https://user@localhost:{port}/"), "it is not understood"),
        ("ftp://example.com/".to_owned(), "it is not understood"),
        ("file:///etc/passwd".to_owned(), "it is not understood"),
        ("".to_owned(), "it is not understood"),
    ] {
        let to = target.clone();
        let error = refused(move |_| Reply::redirect(&to));
        assert!(error.ends_with(expected), "{target}: {error}");
    }
    assert!(inner.asked().is_empty(), "{:?}", inner.asked());
}

#[test]
fn redirections_end() {
    let server = Server::start(|request| Reply::redirect(&request.path));
    let folder = TempDir::new().unwrap();
    let (result, _) = pull_into(&OwnStore::at(folder.path()), &puller(&[&server]), &server);
    let error = result.unwrap_err().to_string();
    assert!(error.ends_with("it is one redirection too many"), "{error}");
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn a_token_does_not_follow_a_redirection_to_another_host() {
    let published = Published::new(b"weights");
    let path = published.weights_path();
    let elsewhere = Server::start(move |request| Reply::part(b"weights", request));
    let target = format!("{}/blob?signature=x", elsewhere.address());
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            return Reply::ok(br#"{"token":"let-me-read"}"#);
        }
        if request.header("authorization").is_none() {
            let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            return Reply::status(401).with("WWW-Authenticate", &realm);
        }
        if request.path == path {
            Reply::redirect(&target)
        } else {
            published.answer(request)
        }
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    pull_into(&store, &puller(&[&server, &elsewhere]), &server).0.unwrap();
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn the_challenge_of_another_host_is_not_answered() {
    let elsewhere = Server::start(|request| {
        let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::status(401).with("WWW-Authenticate", &realm)
    });
    let target = format!("{}/m", elsewhere.address());
    let server = Server::start(move |_| Reply::redirect(&target));
    let folder = TempDir::new().unwrap();
    let (result, _) = pull_into(&OwnStore::at(folder.path()), &puller(&[&server, &elsewhere]), &server);
    assert!(matches!(result, Err(PullError::SignIn { .. })), "{result:?}");
    assert_eq!(elsewhere.asked().len(), 1);
}

#[test]
fn the_world_is_behind_the_proxy_and_the_own_network_is_not() {
    let published = Published::new(b"weights");
    let proxy = Server::start(move |request| published.answer(request));
    let near = Server::start(|_| Reply::status(404));
    let settings = Settings {
        hosts: Some(vec!["http://models.example".to_owned(), near.address()]),
        proxy: Some(Proxy::new(&proxy.address()).unwrap()),
        patience: patience(),
        ..Settings::default()
    };
    let puller = Puller::new(&settings).unwrap();
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let name: ModelName = "models.example/library/tiny".parse().unwrap();
    let mut report = |_| ControlFlow::Continue(());
    puller.from_registry(&name, &store, &mut report).unwrap();
    assert_eq!(proxy.asked()[0].path, "models.example:80");
    assert!(near.asked().is_empty());
    let name: ModelName = format!("{}/library/tiny", near.host()).parse().unwrap();
    let asked = proxy.asked().len();
    puller.from_registry(&name, &store, &mut report).unwrap_err();
    assert_eq!((near.asked().len(), proxy.asked().len()), (1, asked));
}

#[test]
fn the_world_does_not_send_into_the_own_network() {
    let near = Server::start(|_| Reply::ok(b"secret"));
    let target = near.address();
    // It stands for a host of the world.
    let proxy = Server::start(move |_| Reply::redirect(&target));
    let settings = Settings {
        hosts: Some(vec!["http://models.example".to_owned(), near.address()]),
        proxy: Some(Proxy::new(&proxy.address()).unwrap()),
        patience: patience(),
        ..Settings::default()
    };
    let folder = TempDir::new().unwrap();
    let name: ModelName = "models.example/library/tiny".parse().unwrap();
    let mut report = |_| ControlFlow::Continue(());
    let puller = Puller::new(&settings).unwrap();
    let result = puller.from_registry(&name, &OwnStore::at(folder.path()), &mut report);
    let error = result.unwrap_err().to_string();
    assert!(error.ends_with("it is in this network"), "{error}");
    assert!(near.asked().is_empty(), "{:?}", near.asked());
}

#[test]
fn a_host_that_does_not_speak_tls_is_not_trusted() {
    let server = Server::start(|_| Reply::ok(b"{}"));
    let host = server.host();
    let error = pull_by(&[&format!("https://{host}")], &format!("{host}/library/tiny"));
    assert!(matches!(error, PullError::Untrusted { .. }), "{error}");
}

#[test]
fn a_proxy_that_cannot_be_understood_is_not_shown() {
    for text in ["", "gopher://me:sesame@a:1", "http://me:sesame@", "me:sesame @a"] {
        let error = Proxy::new(text).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
    let proxy = Proxy::new("http://me:sesame@proxy.example:8080").unwrap();
    assert_eq!(format!("{proxy:?}"), "Proxy");
}
