//! Ports of this machine that are free for TCP and UDP both: a gateway listens on one number with each.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::client::Error;

pub fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

/// A loopback address whose port is free at this moment.
pub fn free_address() -> Result<SocketAddr, Error> {
    for _ in 0..32 {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if is_free(address.port()) {
            return Ok(address);
        }
    }
    Err(Error::new(
        "no port is free on 127.0.0.1 for both TCP and UDP",
    ))
}
