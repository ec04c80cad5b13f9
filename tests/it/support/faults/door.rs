//! Whether anybody is let in.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How connections are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// As they should be.
    #[default]
    Open,
    /// Refused: nobody listens on the port.
    Closed,
    /// Left without a word, as by a firewall: the queue of the port is full. Only where the kernel then drops attempts,
    /// which Linux does.
    Full,
    /// Each brings one answer; it stays open, and is reset when it is used again.
    Once,
    /// Each brings one answer and is then closed, without a word that it would be.
    Hasty,
    /// Requests are answered as soon as their head is there, the bodies are never read.
    Deaf,
}

/// Where connections come in, or do not.
pub(super) enum Entrance {
    Open(TcpListener),
    Closed(SocketAddr),
    /// A listener that accepts nobody, and those who fill its queue.
    Full {
        listener: TcpListener,
        _waiting: Vec<TcpStream>,
    },
}

/// An attempt to connect that takes longer than this is not answered at all.
const NO_ANSWER: Duration = Duration::from_millis(100);

impl Entrance {
    pub async fn make(door: Door) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        match door {
            Door::Open | Door::Once | Door::Hasty | Door::Deaf => Self::Open(socket.listen(1_024).unwrap()),
            Door::Closed => Self::Closed(socket.local_addr().unwrap()),
            Door::Full => {
                let listener = socket.listen(0).unwrap();
                let address = listener.local_addr().unwrap();
                let mut waiting = Vec::new();
                while let Ok(stream) = tokio::time::timeout(NO_ANSWER, TcpStream::connect(address)).await {
                    waiting.push(stream.unwrap());
                }
                Self::Full { listener, _waiting: waiting }
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Open(listener) | Self::Full { listener, .. } => listener.local_addr().unwrap(),
            Self::Closed(address) => *address,
        }
    }
}
