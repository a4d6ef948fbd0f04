//! The way to the server: name, TCP, TLS where it is asked for, and who we are. TLS is the gateway's own, as towards upstreams.

use std::path::{Path, PathBuf};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use transport::TlsError;
use transport::tcp::TlsConnector;
use transport::tls::{ClientTls, TrustRoots};

use crate::config::LimitsStoreConfig;
use crate::upstream::system_roots;

/// A password's file holds a password.
const MAX_PASSWORD_BYTES: usize = 4096;

/// What `[limits_store]` names that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LimitsStoreError {
    #[error("[limits_store]: {0}")]
    Tls(#[from] TlsError),
    #[error(
        "[limits_store] uses rediss, and no file of trusted authorities was found on this system. Name one: `ca = \"ca.pem\"`"
    )]
    NoRoots,
    #[error("[limits_store]: {0}")]
    Password(String),
}

/// Where the store is.
pub(super) struct Place {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    database: u32,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

/// One open connection; many can ask over it at once. Dropped, it is closed.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

impl Place {
    pub(super) fn new(config: &LimitsStoreConfig) -> Result<Self, LimitsStoreError> {
        let tls = match (config.tls, &config.ca) {
            (false, _) => None,
            (true, Some(ca)) => Some(connector(ca)?),
            (true, None) => Some(connector(
                &system_roots().ok_or(LimitsStoreError::NoRoots)?,
            )?),
        };
        Ok(Self {
            host: config.host.clone(),
            port: config.port,
            tls,
            database: config.database,
            user: config.user.clone(),
            password_file: config.password_file.clone(),
        })
    }

    pub(super) fn check(&self) -> Result<(), LimitsStoreError> {
        self.password()
            .map(|_| ())
            .map_err(LimitsStoreError::Password)
    }

    /// For the log.
    pub(super) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Put a time-out around it.
    pub(super) async fn connect(&self) -> Result<Link, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        // A step is written in one go; waiting to fill a packet would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        match &self.tls {
            None => self.greet(stream).await,
            Some(tls) => {
                let stream = tls.connect(&self.host, stream).await;
                self.greet(stream.map_err(|error| format!("TLS: {error}"))?)
                    .await
            }
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<Link, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(self.database))
            .set_skip_set_lib_name();
        if let Some(password) = self.password()? {
            info = info.set_password(password);
            if let Some(user) = &self.user {
                info = info.set_username(user);
            }
        }
        // Who asks sets the time.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let greeted = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = greeted.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Link { connection, driver })
    }

    /// The first line of its file, read anew each time: it may have been changed.
    fn password(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let unusable = |why: String| format!("the password file {} {why}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let password = text.lines().next().unwrap_or_default();
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            let why = format!("must hold one line of 1 to {MAX_PASSWORD_BYTES} bytes");
            return Err(unusable(why));
        }
        Ok(Some(password.to_owned()))
    }
}

fn connector(ca: &Path) -> Result<TlsConnector, LimitsStoreError> {
    let tls = ClientTls::new(TrustRoots::load(ca)?, None, &[]);
    Ok(TlsConnector::new(&tls)?)
}
