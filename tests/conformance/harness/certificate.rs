//! The certificate that the servers of these tests show, and clients that trust it and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::site::files;

/// The name in the certificate.
pub const NAME: &str = "ns.test";

/// A certificate that signs itself, and its files.
#[derive(Debug)]
pub struct Shown {
    /// The file of the certificate, which clients may take for an authority's.
    pub chain: PathBuf,
    key: PathBuf,
    trusted: CertificateDer<'static>,
}

/// The one of this process, made when first asked for.
///
/// # Panics
/// When its files cannot be written.
pub fn shown() -> &'static Shown {
    static SHOWN: LazyLock<Shown> = LazyLock::new(|| Shown::make(files()));
    &SHOWN
}

impl Shown {
    fn make(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let shown = Self {
            chain: folder.join("ns.crt"),
            key: folder.join("ns.key"),
            trusted: made.cert.der().clone(),
        };
        fs::write(&shown.chain, made.cert.pem()).expect("a file");
        let key = made.signing_key.serialize_pem();
        service::secret::replace(&shown.key, &key).expect("a file");
        shown
    }

    /// The table that has servers answer over every encrypted transport.
    pub fn table(&self) -> String {
        let Self { chain, key, .. } = self;
        let listen =
            ["tls", "https", "quic"].map(|one| format!("listen_{one} = [\"127.0.0.1:0\"]"));
        let listen = listen.join("\n");
        format!("[tls]\ncertificate = {chain:?}\nkey = {key:?}\n{listen}\n")
    }

    /// A client of TLS 1.3 and 1.2 that offers these protocols (ALPN).
    ///
    /// # Panics
    /// When the certificate is none.
    pub fn client(&self, protocols: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that ring has")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}
