//! Certificates for the servers of these tests, and clients that trust them.

use std::sync::Arc;

use dns_transport::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// The name in every certificate.
pub(crate) const NAME: &str = "ns.test";

/// PEM texts of a new certificate and its key, and the certificate.
pub(crate) fn made() -> (String, String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    (chain, key, made.cert.der().clone())
}

pub(crate) fn certificate() -> (Certificate, CertificateDer<'static>) {
    let (chain, key, der) = made();
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    (certificate.unwrap(), der)
}

/// A client that trusts this certificate alone and remembers its sessions.
pub(crate) fn client(
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}
