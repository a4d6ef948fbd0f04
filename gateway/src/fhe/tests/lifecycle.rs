//! Keys over HTTP from their registration to their end, in one piece and in parts; and who may do so.

use super::*;
use crate::fhe::{TenantSettings, TokenHash, TokenSource};
use crate::pipeline::Service;
use ::fhe::KeyId;
use ::http::HeaderMap;

const TOKEN: &str = "vgt_000102030405060708090a0b0c0d0e0f";

fn body(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn text<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers()[name].to_str().unwrap()
}

impl Bench {
    async fn patch(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        data: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(Method::PATCH).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(data.into())).unwrap();
        self.service.handle(request, &Tenant::default()).await
    }

    /// A part as it should be.
    async fn part(&self, path: &str, at: usize, last: &str, data: &[u8]) -> Response<Bytes> {
        let at = at.to_string();
        let fields = [
            ("content-type", "application/partial-upload"),
            ("upload-offset", &*at),
            ("upload-complete", last),
        ];
        self.patch(path, &fields, data.to_vec()).await
    }

    async fn begin(&self, key: &EvaluationKey) -> Response<Bytes> {
        let begin = format!(
            "{{\"id\":\"{}\",\"bytes\":{}}}",
            key.id(),
            key.as_bytes().len()
        );
        self.call(Method::POST, "/fhe/v1/uploads", begin).await
    }

    async fn listed(&self) -> Vec<serde_json::Value> {
        let list = self.call(Method::GET, "/fhe/v1/keys", "").await;
        body(&list)["keys"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn the_index_leads_to_the_document_and_methods_are_told() {
    let bench = bench();
    for path in ["/fhe/v1", "/fhe/v1/"] {
        let index = bench.call(Method::GET, path, "").await;
        assert_eq!(body(&index)["openapi"], "/fhe/v1/openapi.json");
    }
    let document = bench.call(Method::GET, "/fhe/v1/openapi.json", "").await;
    assert_eq!(body(&document)["openapi"], "3.1.0");
    let refused = bench.call(Method::PUT, "/fhe/v1/keys", "").await;
    check_problem(&refused, 405, "method-not-allowed");
    assert_eq!(text(&refused, "allow"), "GET, POST");
    for path in [
        "/fhe/v1x",
        "/fhe/v1/keys/",
        "/fhe/v1//keys",
        "/fhe",
        "/fhe/v1/uploads/a/b",
    ] {
        let unknown = bench.call(Method::GET, path, "").await;
        check_problem(&unknown, 404, "unknown-resource");
    }
}

#[tokio::test]
async fn a_registration_may_name_a_label_an_end_and_what_it_replaces() {
    let bench = bench();
    let (old, new) = (
        make_key(ParamSet::Linear, 80).1,
        make_key(ParamSet::Linear, 82).1,
    );
    let post = |query: String, key: &EvaluationKey| {
        let bytes = key.as_bytes().to_vec();
        let path = format!("/fhe/v1/keys?{query}");
        let bench = &bench;
        async move { bench.call(Method::POST, &path, bytes).await }
    };
    for query in [
        "ttl=3",
        "label=",
        "label=a%0Ab",
        "label=a&label=b",
        "expires_s=-1",
        "expires_s=1",
        "expires_s=99999999999999999999",
        "replaces=mine",
    ] {
        let refused = post(query.to_owned(), &old).await;
        check_problem(&refused, 400, "bad-parameter");
    }
    let unknown = post(format!("replaces={}", new.id()), &old).await;
    check_problem(&unknown, 422, "cannot-replace");
    let made = post("label=the+first&expires_s=3600".to_owned(), &old).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let said = body(&made);
    assert_eq!(said["label"], "the first");
    let (created, expires) = (said["created"].as_u64().unwrap(), said["expires"].as_u64());
    assert_eq!(expires, Some(created + 3600));
    assert!(said["last_used"].is_null() && said["replaced_by"].is_null());

    let made = post(format!("replaces={}", old.id()), &new).await;
    assert_eq!(body(&made)["replaces"], old.id().to_string());
    let listed = bench.listed().await;
    assert_eq!(listed.len(), 2);
    let of_old = listed
        .iter()
        .find(|key| key["id"] == old.id().to_string())
        .unwrap();
    assert_eq!(of_old["replaced_by"], new.id().to_string());
    // It would have ended sooner than its grace.
    assert_eq!(of_old["expires"].as_u64(), Some(created + 3600));
}

#[tokio::test]
async fn a_key_comes_in_parts_and_is_registered_whole() {
    let bench = bench();
    let (_, key) = make_key(ParamSet::Linear, 90);
    let bytes = key.as_bytes();
    let begun = bench.begin(&key).await;
    assert_eq!(begun.status(), StatusCode::CREATED, "{:?}", begun.body());
    let path = text(&begun, "location").to_owned();
    let whole = bytes.len().to_string();
    assert_eq!(text(&begun, "upload-length"), whole);
    assert_eq!(text(&begun, "upload-offset"), "0");

    let first = bench.part(&path, 0, "?0", &bytes[..7000]).await;
    assert_eq!(first.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(&first, "upload-offset"), "7000");
    for method in [Method::HEAD, Method::GET] {
        let head = bench.call(method, &path, "").await;
        assert_eq!(text(&head, "upload-offset"), "7000");
        assert_eq!(text(&head, "upload-complete"), "?0");
        assert_eq!(text(&head, "cache-control"), "no-store");
        assert_eq!(text(&head, "upload-limit"), "max-age=3600");
    }
    // Begun again, it is the same.
    let again = bench.begin(&key).await;
    assert_eq!(
        (again.status(), text(&again, "location")),
        (StatusCode::OK, &*path)
    );
    assert_eq!(text(&again, "upload-offset"), "7000");
    let list = bench.call(Method::GET, "/fhe/v1/uploads", "").await;
    assert_eq!(body(&list)["uploads"][0]["offset"], 7000);
    assert!(bench.listed().await.is_empty());

    let rest = bench.part(&path, 7000, "?1", &bytes[7000..]).await;
    assert_eq!(rest.status(), StatusCode::CREATED, "{:?}", rest.body());
    assert_eq!(
        text(&rest, "location"),
        format!("/fhe/v1/keys/{}", key.id())
    );
    assert_eq!(text(&rest, "upload-complete"), "?1");
    assert_eq!(bench.listed().await.len(), 1);
    let over = bench.call(Method::HEAD, &path, "").await;
    assert_eq!(over.status(), StatusCode::NOT_FOUND);
    let there = bench.begin(&key).await;
    assert_eq!(there.status(), StatusCode::OK);
    assert!(there.headers().get("upload-offset").is_none());
    assert_eq!(body(&there)["id"], key.id().to_string());
}

#[tokio::test]
async fn a_part_that_is_wrong_is_refused_and_what_came_stays() {
    let bench = bench();
    let (_, key) = make_key(ParamSet::Linear, 100);
    let bytes = key.as_bytes();
    let begun = bench.begin(&key).await;
    let path = text(&begun, "location").to_owned();
    bench.part(&path, 0, "?0", &bytes[..100]).await;

    let elsewhere = bench.part(&path, 50, "?0", &bytes[50..60]).await;
    assert_eq!(elsewhere.status(), StatusCode::CONFLICT);
    let said = body(&elsewhere);
    assert!(
        said["type"]
            .as_str()
            .unwrap()
            .ends_with("#mismatching-upload-offset")
    );
    assert_eq!(
        (&said["expected-offset"], &said["provided-offset"]),
        (&100.into(), &50.into())
    );
    assert_eq!(text(&elsewhere, "upload-offset"), "100");
    let short = bench.part(&path, 100, "?1", &bytes[100..110]).await;
    assert_eq!(short.status(), StatusCode::BAD_REQUEST);
    assert!(
        body(&short)["type"]
            .as_str()
            .unwrap()
            .ends_with("#inconsistent-upload-length")
    );
    let long = bench.part(&path, 110, "?0", &[bytes, bytes].concat()).await;
    check_problem(&long, 413, "oversize");
    let partial = ("content-type", "application/partial-upload");
    for fields in [
        &[partial][..],
        &[partial, ("upload-offset", "-1")],
        &[partial, ("upload-offset", "")],
        &[partial, ("upload-offset", "110.0")],
        &[partial, ("upload-offset", "9999999999999999999999")],
        &[partial, ("upload-offset", "110"), ("upload-offset", "110")],
        &[
            partial,
            ("upload-offset", "110"),
            ("upload-complete", "true"),
        ],
    ] {
        let refused = bench.patch(&path, fields, "x").await;
        check_problem(&refused, 400, "bad-parameter");
    }
    let kind = bench.patch(&path, &[("upload-offset", "110")], "x").await;
    check_problem(&kind, 415, "wrong-media-type");
    assert_eq!(text(&kind, "accept-patch"), "application/partial-upload");
    let theirs = bench.call_as("other", Method::GET, &path, "").await;
    check_problem(&theirs, 404, "unknown-upload");
    let theirs = bench.call_as("other", Method::DELETE, &path, "").await;
    check_problem(&theirs, 404, "unknown-upload");

    let head = bench.call(Method::HEAD, &path, "").await;
    assert_eq!(text(&head, "upload-offset"), "110");
    let wrong = [&bytes[110..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat();
    let wrong = bench.part(&path, 110, "?1", &wrong).await;
    check_problem(&wrong, 422, "hash-mismatch");
    check_problem(
        &bench.call(Method::GET, &path, "").await,
        404,
        "unknown-upload",
    );
    assert!(bench.listed().await.is_empty());

    let begun = bench.begin(&key).await;
    let path = text(&begun, "location");
    let cancelled = bench.call(Method::DELETE, path, "").await;
    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    check_problem(
        &bench.call(Method::DELETE, path, "").await,
        404,
        "unknown-upload",
    );
    for nobody in ["x", "..%2f", &"0".repeat(32), &"A".repeat(32)] {
        let path = format!("/fhe/v1/uploads/{nobody}");
        check_problem(
            &bench.call(Method::GET, &path, "").await,
            404,
            "unknown-upload",
        );
    }
}

#[tokio::test]
async fn what_begins_an_upload_is_checked() {
    let bench = bench();
    let (_, key) = make_key(ParamSet::Linear, 110);
    let (id, bytes) = (key.id(), key.as_bytes().len());
    let post = |body: String| bench.call(Method::POST, "/fhe/v1/uploads", body);
    for wrong in [
        String::new(),
        "[]".to_owned(),
        format!("{{\"id\":\"{id}\"}}"),
        format!("{{\"id\":\"no\",\"bytes\":{bytes}}}"),
        format!("{{\"id\":\"{id}\",\"bytes\":-1}}"),
        format!("{{\"id\":\"{id}\",\"bytes\":{bytes},\"more\":1}}"),
    ] {
        check_problem(&post(wrong).await, 400, "malformed");
    }
    let large = format!("{{\"id\":\"{id}\",\"bytes\":{bytes}}}{}", " ".repeat(5000));
    check_problem(&post(large).await, 413, "oversize");
    let odd = format!("{{\"id\":\"{id}\",\"bytes\":{}}}", bytes - 1);
    check_problem(&post(odd).await, 422, "wrong-length");
    let soon = format!("{{\"id\":\"{id}\",\"bytes\":{bytes},\"expires_s\":1}}");
    check_problem(&post(soon).await, 400, "bad-parameter");
    for seed in 0..4u8 {
        let other = format!(
            "{{\"id\":\"{}\",\"bytes\":{bytes}}}",
            format!("{seed:02x}").repeat(32)
        );
        assert_eq!(post(other).await.status(), StatusCode::CREATED);
    }
    check_problem(&bench.begin(&key).await, 409, "too-many-uploads");
}

#[tokio::test]
async fn quotas_are_the_tenants_own() {
    let bench = bench();
    let few = TenantSettings {
        max_keys: 1,
        ..TenantSettings::default()
    };
    let little = TenantSettings {
        max_key_bytes: 20_000,
        ..TenantSettings::default()
    };
    for (name, settings, problem) in [
        ("few", few, "too-many-keys"),
        ("little", little, "too-many-key-bytes"),
    ] {
        let tenant = name.parse::<Tenant>().unwrap().with_settings(settings);
        let post = async |seed| {
            let key = make_key(ParamSet::Linear, seed).1;
            let body = Full::new(Bytes::from(key.as_bytes().to_vec()));
            let request = Request::post("/fhe/v1/keys").body(body).unwrap();
            bench.service.handle(request, &tenant).await
        };
        assert_eq!(post(120).await.status(), StatusCode::CREATED);
        check_problem(&post(122).await, 409, problem);
    }
    let full = bench_with(|options| options.key_store_bytes = 20_000);
    full.register(&make_key(ParamSet::Linear, 124).1).await;
    let (_, key) = make_key(ParamSet::Linear, 126);
    check_problem(&full.begin(&key).await, 507, "key-store-full");
}

#[tokio::test]
async fn an_expired_key_is_gone_for_evaluations_too() {
    let bench = bench_with(|options| options.rotation_grace = Duration::ZERO);
    let (old, new) = (
        make_key(ParamSet::Linear, 130),
        make_key(ParamSet::Linear, 132),
    );
    bench.register(&old.1).await;
    let request = bench.request_for(LINEAR, &old, 1).await;
    let path = format!("/fhe/v1/programs/{LINEAR}/evaluate");
    assert_eq!(
        bench
            .call(Method::POST, &path, request.clone())
            .await
            .status(),
        StatusCode::OK
    );
    let used = bench.listed().await;
    assert!(used[0]["last_used"].is_u64());
    let replace = format!("/fhe/v1/keys?replaces={}", old.1.id());
    let replaced = bench
        .call(Method::POST, &replace, new.1.as_bytes().to_vec())
        .await;
    assert_eq!(replaced.status(), StatusCode::CREATED);
    check_problem(
        &bench.call(Method::POST, &path, request).await,
        410,
        "key-expired",
    );
    let described = bench
        .call(Method::GET, &format!("/fhe/v1/keys/{}", old.1.id()), "")
        .await;
    check_problem(&described, 410, "key-expired");
}

#[tokio::test]
async fn a_token_stands_for_its_tenant_and_nobody_is_refused() {
    let acme: Tenant = "acme".parse().unwrap();
    let bench = bench_with(|options| {
        options.anonymous = false;
        options.tenants = vec![(acme.clone(), vec![TokenSource::Hash(TokenHash::of(TOKEN))])];
    });
    assert!(bench.service.owns_authorization());
    let (_, key) = make_key(ParamSet::Linear, 140);
    let id: KeyId = key.id();
    let ask = async |method: Method, path: String, fields: HeaderMap, data: Vec<u8>| {
        let mut request = Request::new(crate::body::Body::full(data));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = fields;
        let response = bench.service.call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .unwrap()
            .to_bytes();
        Response::from_parts(head, body)
    };
    let known = HeaderMap::from_iter([(
        ::http::header::AUTHORIZATION,
        format!("Bearer {TOKEN}").parse().unwrap(),
    )]);
    for path in ["/fhe/v1", "/fhe/v1/keys", "/fhe/v1/openapi.json"] {
        let nobody = ask(Method::GET, path.to_owned(), HeaderMap::new(), vec![]).await;
        check_problem(&nobody, 401, "unauthenticated");
        assert!(text(&nobody, "www-authenticate").starts_with("Bearer"));
    }
    let bytes = key.as_bytes().to_vec();
    let made = ask(
        Method::POST,
        "/fhe/v1/keys".to_owned(),
        known.clone(),
        bytes,
    )
    .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert_eq!(made.extensions().get::<Tenant>(), Some(&acme));
    let path = format!("/fhe/v1/keys/{id}");
    let found = ask(Method::GET, path.clone(), known, vec![]).await;
    assert_eq!(found.status(), StatusCode::OK);
    assert_eq!(
        bench.call_as("acme", Method::GET, &path, "").await.status(),
        StatusCode::OK
    );
    check_problem(
        &bench.call(Method::GET, &path, "").await,
        404,
        "unknown-key",
    );
}

/// A value that is answered has the members that the document says, all that must be, and none besides.
#[track_caller]
fn check_schema(value: &serde_json::Value, name: &str) {
    let document = include_str!("../../../../docs/specs/fhe-openapi.json");
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let schema = &document["components"]["schemas"][name];
    let members = value.as_object().unwrap();
    for required in schema["required"].as_array().unwrap() {
        assert!(
            members.contains_key(required.as_str().unwrap()),
            "{required} is not in {value}"
        );
    }
    for (member, value) in members {
        let declared = &schema["properties"][member];
        assert!(
            declared.is_object(),
            "{member} of {value} is not in the document"
        );
        let kind = declared["type"].as_str();
        let fits = match kind {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("array") => value.is_array(),
            _ => true,
        };
        assert!(fits, "{member}: {value} is not {kind:?}");
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let bench = bench();
    let (key, other) = (
        make_key(ParamSet::Linear, 150).1,
        make_key(ParamSet::Linear, 152).1,
    );
    let made = bench
        .call(Method::POST, "/fhe/v1/keys", key.as_bytes().to_vec())
        .await;
    check_schema(&body(&made), "Key");
    assert_eq!(text(&made, "cache-control"), "no-store");
    let begun = bench.begin(&other).await;
    check_schema(&body(&begun), "Upload");
    let path = text(&begun, "location").to_owned();
    for (path, name) in [
        ("/fhe/v1", "Index"),
        ("/fhe/v1/programs", "ProgramList"),
        ("/fhe/v1/keys", "KeyList"),
        ("/fhe/v1/uploads", "UploadList"),
        ("/fhe/v1/uploads/none", "Problem"),
    ] {
        check_schema(&body(&bench.call(Method::GET, path, "").await), name);
    }
    check_schema(&body(&bench.part(&path, 9, "?0", b"x").await), "Problem");
    // Everything that is described is answered by something of its own.
    let document = bench.call(Method::GET, "/fhe/v1/openapi.json", "").await;
    for (path, item) in body(&document)["paths"].as_object().unwrap() {
        let path = path
            .replace("{name}", LINEAR)
            .replace("{id}", "none")
            .replace("{upload}", "none");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let described = item[method.to_lowercase()].is_object();
            let as_get = method == "HEAD" && item["get"].is_object();
            let response = bench.call(method.parse().unwrap(), &path, "").await;
            let refused = response.status() == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(!refused, described || as_get, "{method} {path}");
            let said = String::from_utf8_lossy(response.body());
            assert!(!said.contains(":fhe:unknown-resource"), "{method} {path}");
        }
    }
}
