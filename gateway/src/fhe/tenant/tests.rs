use super::*;
use crate::fhe::Problem;
use ::http::{HeaderMap, HeaderValue, header};

const TOKEN: &str = "vgt_000102030405060708090a0b0c0d0e0f";
const OTHER: &str = "vgt_ffffffffffffffffffffffffffffffff";

#[test]
fn a_name_is_safe_as_a_directory() {
    for good in ["default", "site-7.example_x", "0"] {
        assert_eq!(good.parse::<Tenant>().unwrap().as_str(), good);
    }
    for bad in ["", ".", "..", "-x", "a/b", "A", "a b", "é", &"a".repeat(65)] {
        assert!(bad.parse::<Tenant>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_subject_that_is_no_name_is_a_tenant_of_its_own() {
    assert_eq!(Tenant::of_subject("site-1").as_str(), "site-1");
    let (one, other) = (
        Tenant::of_subject("Acme Corp"),
        Tenant::of_subject("Acme corp"),
    );
    assert_ne!(one, other);
    for tenant in [&one, &other, &Tenant::of_subject("../../etc")] {
        assert!(tenant.as_str().parse::<Tenant>().is_ok(), "{tenant}");
        assert_ne!(*tenant, Tenant::default());
    }
}

fn acme() -> Tenant {
    "acme"
        .parse::<Tenant>()
        .unwrap()
        .with_settings(TenantSettings {
            max_keys: 3,
            priority: 8,
            ..TenantSettings::default()
        })
}

fn tenants(anonymous: bool) -> Tenants {
    let named = [
        (acme(), vec![TokenSource::Hash(TokenHash::of(TOKEN))]),
        ("beta".parse().unwrap(), vec![]),
    ];
    Tenants::open(anonymous, TenantSettings::default(), &named).unwrap()
}

fn with(fields: &[&str]) -> HeaderMap {
    let field = |text: &&str| (header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
    fields.iter().map(field).collect()
}

fn check_refused(result: Result<Tenant, Problem>, status: u16, name: &str) {
    let problem = result.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.name), (status, name));
    assert!(!problem.detail.contains("vgt_"), "{}", problem.detail);
    let response = problem.into_response();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    assert_eq!(challenge.is_some(), status == 401);
    if let Some(challenge) = challenge {
        assert!(challenge.to_str().unwrap().starts_with("Bearer"));
    }
}

#[test]
fn a_token_or_a_certificate_names_the_tenant_with_its_settings() {
    let tenants = tenants(false);
    for field in [
        format!("Bearer {TOKEN}"),
        format!("bearer   {TOKEN} "),
        format!("BEARER {TOKEN}"),
    ] {
        let tenant = tenants.identify(None, &with(&[&field])).unwrap();
        assert_eq!(tenant.as_str(), "acme");
        assert_eq!(tenant.settings().priority, 8);
        assert_eq!(tenant.settings().max_keys, 3);
    }
    // The certificate alone gives the same tenant with the same settings, and one that is not configured the defaults.
    let certified = |name| Some(Tenant::of_subject(name));
    let tenant = tenants
        .identify(certified("acme"), &HeaderMap::new())
        .unwrap();
    assert_eq!(tenant.settings().max_keys, 3);
    let tenant = tenants
        .identify(certified("zeta"), &HeaderMap::new())
        .unwrap();
    assert_eq!(*tenant.settings(), TenantSettings::default());
    let both = with(&[&format!("Bearer {TOKEN}")]);
    assert!(tenants.identify(certified("acme"), &both).is_ok());
    check_refused(
        tenants.identify(certified("beta"), &both),
        403,
        "two-identities",
    );
}

#[test]
fn who_is_nobody_is_challenged() {
    let tenants_ = tenants(false);
    check_refused(
        tenants_.identify(None, &HeaderMap::new()),
        401,
        "unauthenticated",
    );
    let too_long = format!("Bearer {}", "x".repeat(5000));
    let longer = format!("Bearer {TOKEN}0");
    let shorter = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    let other = format!("Bearer {OTHER}");
    let right = format!("Bearer {TOKEN}");
    for fields in [
        &[&*too_long][..],
        &[&longer],
        &[&shorter],
        &[&other],
        &["Bearer"],
        &["Bearer "],
        &["Basic dXNlcjpwYXNz"],
        &[&right, &other],
        &[&right, &right],
    ] {
        check_refused(
            tenants_.identify(None, &with(fields)),
            401,
            "unauthenticated",
        );
    }
    // A wrong token is not overlooked, whatever else would let it in.
    let certified = Some(Tenant::of_subject("acme"));
    check_refused(
        tenants_.identify(certified, &with(&[&other])),
        401,
        "unauthenticated",
    );
    check_refused(
        tenants(true).identify(None, &with(&[&other])),
        401,
        "unauthenticated",
    );
    assert_eq!(
        tenants(true).identify(None, &HeaderMap::new()).unwrap(),
        Tenant::default()
    );
}

#[test]
fn without_any_token_the_field_is_not_read() {
    let none = Tenants::open(true, TenantSettings::default(), &[]).unwrap();
    let tenant = none.identify(None, &with(&["Bearer something"])).unwrap();
    assert_eq!(tenant, Tenant::default());
}

#[test]
fn token_files_are_private_and_hold_one_token() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let open = |other: Option<&str>| {
        let mut named = vec![(acme(), vec![TokenSource::File(path.clone())])];
        if let Some(token) = other {
            let hash = TokenSource::Hash(TokenHash::of(token));
            named.push(("beta".parse().unwrap(), vec![hash]));
        }
        Tenants::open(false, TenantSettings::default(), &named)
    };
    assert!(matches!(open(None), Err(TenantsError::Read { .. })));
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(None), Err(TenantsError::Exposed { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let field = with(&[&format!("Bearer {TOKEN}")]);
    assert_eq!(open(None).unwrap().identify(None, &field).unwrap(), acme());
    assert!(matches!(
        open(Some(TOKEN)),
        Err(TenantsError::Shared { .. })
    ));
    assert!(open(Some(OTHER)).is_ok());
    for wrong in ["", "short", &"x".repeat(600), &format!("{TOKEN} {TOKEN}")] {
        std::fs::write(&path, wrong).unwrap();
        let error = open(None).unwrap_err();
        assert!(matches!(error, TenantsError::NoToken { .. }), "{error}");
        assert!(!error.to_string().contains("vgt_"));
    }
}

#[test]
fn hashes_are_read_as_they_are_written_and_never_shown_by_debug() {
    let hash = TokenHash::of(TOKEN);
    assert_eq!(hash.to_string().parse::<TokenHash>(), Ok(hash));
    for wrong in [
        "",
        TOKEN,
        "blake3:",
        "blake3:00",
        "sha256:00",
        &hash.to_string()[7..],
    ] {
        assert!(wrong.parse::<TokenHash>().is_err(), "{wrong}");
    }
    assert!(!format!("{hash:?}").contains(&hash.to_string()[7..20]));
}
