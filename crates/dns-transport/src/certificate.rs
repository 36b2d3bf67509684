//! The certificate of the encrypted transports: read from PEM texts, exchanged while connections are open.
//!
//! Who reads the files, and when, is the program's business.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::expiry;

/// A certificate chain with its key. Clones show the same one: [`Certificate::replace`] acts on all handshakes to come,
/// on every listener, and on no open connection. The default is none yet: until there is one, handshakes fail.
#[derive(Debug, Clone, Default)]
pub struct Certificate(Arc<Current>);

#[derive(Debug, Default)]
struct Current(RwLock<Option<Arc<CertifiedKey>>>);

/// Why a chain and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The first text is no PEM.
    #[error("the certificate chain cannot be read: {0}")]
    Chain(pem::Error),
    /// It holds no certificate.
    #[error("the certificate chain holds no CERTIFICATE section")]
    NoCertificate,
    /// The second text is no PEM, or holds no key (PKCS #8, PKCS #1 or SEC 1).
    #[error("the private key cannot be read: {0}")]
    Key(pem::Error),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The key is of a kind not known here, or the certificate is none.
    #[error("certificate and private key cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl Certificate {
    /// Reads a chain (the server's certificate first) and its key from PEM texts.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Self::default();
        certificate.replace(chain, key)?;
        Ok(certificate)
    }

    /// Puts another one in its place for handshakes to come.
    ///
    /// # Errors
    /// As [`Certificate::from_pem`]; then the old one stays.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let next = read(chain, key)?;
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(())
    }

    /// The Unix second up to which the server's certificate is valid; `None` if there is none, or it does not say in a
    /// way known here.
    pub fn expires(&self) -> Option<i64> {
        expiry::read(self.0.current()?.cert.first()?)
    }

    /// How to shake hands for a protocol. Sessions resume by tickets that the server need not remember; there is no
    /// 0-RTT data, which could be replayed.
    pub(crate) fn server_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.ticketer = ring::Ticketer::new()?;
        Ok(config)
    }
}

impl Current {
    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

fn read(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(CertificateError::Chain)?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::Key)?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    certified.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
        error => CertificateError::Unusable(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["ns.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn told(chain: &str, key: &str) -> String {
        let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes());
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_chain_and_its_key_are_read_and_all_else_is_refused_with_its_reason() {
        let (chain, key) = made();
        let (other_chain, other_key) = made();
        let both = format!("{chain}{other_chain}");
        assert!(Certificate::from_pem(both.as_bytes(), key.as_bytes()).is_ok());
        let mismatch = "the private key does not belong to the certificate";
        assert_eq!(told(&chain, &other_key), mismatch);
        assert_eq!(told(&other_chain, &key), mismatch);
        assert_eq!(
            told(&key, &key),
            "the certificate chain holds no CERTIFICATE section"
        );
        assert_eq!(
            told("", &key),
            "the certificate chain holds no CERTIFICATE section"
        );
        let half = &chain[..chain.len() / 2];
        assert!(told(half, &key).starts_with("the certificate chain cannot be read: "));
        assert_eq!(
            told(&chain, &chain),
            "the private key cannot be read: no items found"
        );
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unusable = "certificate and private key cannot be used: ";
        assert!(told(nonsense, &key).starts_with(unusable));
    }

    #[test]
    fn what_cannot_be_used_leaves_the_old_one_in_place() {
        let (chain, key) = made();
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let before = certificate.0.current().unwrap();
        assert!(certificate.replace(chain.as_bytes(), b"").is_err());
        assert!(Arc::ptr_eq(&before, &certificate.0.current().unwrap()));
        let (chain, key) = made();
        let shown = certificate.clone();
        certificate
            .replace(chain.as_bytes(), key.as_bytes())
            .unwrap();
        assert_ne!(before.cert, shown.0.current().unwrap().cert);
    }
}
