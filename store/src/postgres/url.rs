//! The address of a PostgreSQL database, `postgres://USER@HOST/DATABASE?PARAMETERS`, with the TLS parameters of libpq
//! that tokio-postgres does not read (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
//!
//! Its password is never shown: not by `Display`, not by `Debug`, and no error repeats a part of the text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use session::Secret;
use tokio_postgres::config::{Host, SslMode as Encryption, TargetSessionAttrs};

/// What libpq's `sslmode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// Encrypted where the server can; the default.
    Prefer,
    /// Encrypted. The server's certificate is only looked at where `sslrootcert` is given, as libpq does.
    Require,
    /// The certificate must come from a trusted authority, for whatever host.
    VerifyCa,
    /// The certificate must come from a trusted authority, for the host that is connected to.
    VerifyFull,
}

/// Who may have signed the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The certificates that `SSL_CERT_FILE` names, else Mozilla's.
    System,
    /// A file of certificates in PEM.
    File(PathBuf),
}

/// How a connection is encrypted, and who must be at its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub mode: SslMode,
    /// `None`: not given. The modes that verify take [`Roots::System`] then.
    pub roots: Option<Roots>,
    /// The certificate that is shown to the server and its private key, both in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where a database is and how it is reached. It has a host; everything else may be PostgreSQL's default.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Box<tokio_postgres::Config>,
    tls: Tls,
}

/// Why a text is no such address. It says nothing of the text itself, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Scheme,
    #[error("it cannot be read as postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS: {0}")]
    Form(&'static str),
    #[error("it names no host")]
    Host,
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    #[error("sslcert and sslkey belong together")]
    ClientCertificate,
    #[error("sslrootcert=system needs sslmode=verify-full, the default beside it")]
    WeakSystemRoots,
}

impl FromStr for PostgresUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(InvalidUrl::Scheme);
        }
        let (text, parameters) = TlsParameters::strip(text)?;
        let mut config: tokio_postgres::Config = text.parse().map_err(|error| InvalidUrl::Form(reason(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(InvalidUrl::Host);
        }
        let several = config.get_hosts().len().max(config.get_hostaddrs().len()) > 1;
        if several && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // Of a primary and its standbys, only the primary is of use.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = parameters.into_tls()?;
        config.ssl_mode(match tls.mode {
            SslMode::Disable => Encryption::Disable,
            SslMode::Prefer if tls.roots.is_none() => Encryption::Prefer,
            _ => Encryption::Require,
        });
        Ok(Self { config: Box::new(config), tls })
    }
}

impl PostgresUrl {
    /// Takes the place of the text's own password.
    pub fn set_password(&mut self, password: &Secret) {
        self.config.password(password.expose());
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }
}

/// Everything but passwords and parameters.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let names = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = if self.config.get_hosts().is_empty() { addresses.collect() } else { names.collect() };
        let ports = self.config.get_ports();
        for (n, host) in hosts.iter().enumerate() {
            let port = ports.get(n).or(ports.first()).unwrap_or(&5432);
            write!(f, "{}{host}:{port}", if n > 0 { "," } else { "" })?;
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// What tokio-postgres had against the text, without the words of the text.
fn reason(error: &tokio_postgres::Error) -> &'static str {
    const OPTIONS: [&str; 11] = [
        "port",
        "connect_timeout",
        "tcp_user_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_retries",
        "target_session_attrs",
        "channel_binding",
        "load_balance_hosts",
        "sslnegotiation",
    ];
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if cause.starts_with("unknown option") {
        return "it has a parameter that is not known here";
    }
    let named = OPTIONS.into_iter().find(|name| cause == format!("invalid value for option `{name}`"));
    named.unwrap_or("a part of it is malformed; characters such as @ : / ? # & % must be percent-encoded")
}

/// The parameters that this file reads itself.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    root_cert: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl TlsParameters {
    /// Takes them out of the text.
    fn strip(text: &str) -> Result<(String, Self), InvalidUrl> {
        let mut found = Self::default();
        // A question mark before the @ belongs to the password.
        let credentials = text.find('@').unwrap_or(0);
        let Some(query) = text[credentials..].find('?').map(|at| credentials + at) else {
            return Ok((text.to_owned(), found));
        };
        let mut others = Vec::new();
        for pair in text[query + 1..].split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "sslmode" => &mut found.mode,
                "sslrootcert" => &mut found.root_cert,
                "sslcert" => &mut found.cert,
                "sslkey" => &mut found.key,
                _ => {
                    others.push(pair);
                    continue;
                }
            };
            let value = percent_decode_str(value).decode_utf8().map_err(|_| InvalidUrl::Form("it is not UTF-8"))?;
            *slot = Some(value.into_owned()).filter(|value| !value.is_empty());
        }
        let query = if others.is_empty() {
            text[..query].to_owned()
        } else {
            format!("{}?{}", &text[..query], others.join("&"))
        };
        Ok((query, found))
    }

    fn into_tls(self) -> Result<Tls, InvalidUrl> {
        let roots = self.root_cert.map(|path| if path == "system" { Roots::System } else { Roots::File(path.into()) });
        let mode = match self.mode.as_deref() {
            None if roots == Some(Roots::System) => SslMode::VerifyFull,
            None | Some("prefer") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(_) => return Err(InvalidUrl::SslMode),
        };
        // Anybody has a certificate from a public authority, for some host.
        if roots == Some(Roots::System) && mode != SslMode::VerifyFull {
            return Err(InvalidUrl::WeakSystemRoots);
        }
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => return Err(InvalidUrl::ClientCertificate),
        };
        Ok(Tls { mode, roots, client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://me:hunter2@db.example:6543/cliscale?sslmode=require&application_name=x",
            "postgresql://me:hunter2@db.example:6543/cliscale",
            "postgres://me:hunter2@db.example:6543/cliscale?password=hunter2",
        ] {
            let mut url = url(text);
            assert_eq!(url.to_string(), "postgres://me@db.example:6543/cliscale");
            assert!(!format!("{url:?}").contains("hunter2"));
            assert_eq!(url.config.get_password(), Some(&b"hunter2"[..]));
            url.set_password(&Secret::new("other"));
            assert_eq!(url.config.get_password(), Some(&b"other"[..]));
        }
    }

    #[test]
    fn what_cannot_be_read_is_explained_and_not_repeated() {
        for (text, part) in [
            ("mysql://hunter2", "postgres://"),
            ("postgres://u:hunter2@h:hunter2/d", "port"),
            ("postgres://u:hunter2@h/d?hunter2=1", "not known"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", "verify-full"),
            ("postgres://u:hunter2@h/d?sslcert=hunter2", "belong together"),
            ("postgres://u:hunter2@/d", "no host"),
            ("postgres://u:hunter2@h/d?sslrootcert=system&sslmode=require", "verify-full"),
            ("postgres://u:hunter2@[::1/d", "malformed"),
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn tls_parameters_mean_what_libpq_says() {
        let tls = |text: &str| url(&format!("postgres://u@h/d{text}")).tls;
        assert_eq!(tls(""), Tls { mode: SslMode::Prefer, roots: None, client: None });
        let full = tls("?sslmode=verify-full&sslrootcert=/a%20b/ca.pem&sslcert=c.pem&sslkey=k.pem");
        assert_eq!((full.mode, full.roots), (SslMode::VerifyFull, Some(Roots::File("/a b/ca.pem".into()))));
        assert_eq!(full.client, Some(("c.pem".into(), "k.pem".into())));
        assert_eq!(tls("?sslrootcert=system").mode, SslMode::VerifyFull);
        let encryption = |text: &str| url(&format!("postgres://u@h/d{text}")).config.get_ssl_mode();
        assert_eq!(encryption("?sslmode=disable"), Encryption::Disable);
        assert_eq!(encryption("?connect_timeout=3"), Encryption::Prefer);
        // What is to be checked cannot be left out.
        assert_eq!(encryption("?sslrootcert=ca.pem"), Encryption::Require);
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(encryption(&format!("?sslmode={mode}")), Encryption::Require);
        }
    }

    #[test]
    fn of_several_hosts_the_one_that_writes_is_taken() {
        let several = url("postgres://u@a:1,b:2/d");
        assert_eq!(several.to_string(), "postgres://u@a:1,b:2/d");
        assert_eq!(several.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(url("postgres://u@a/d").config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert_eq!(url("postgres:///d?host=/run/postgresql").to_string(), "postgres:///run/postgresql:5432/d");
    }
}
