//! Names that must never be mixed up: who asks, what is asked for, and under which key an answer lies.

use std::fmt;
use std::sync::Arc;

/// A 32-byte digest shown as 64 lowercase hex digits.
macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes that were computed or stored before.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Parses 64 hex digits; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

digest! {
    /// The exact key of a request: equal fingerprints may share an answer without a second look.
    Fingerprint
}
digest! {
    /// Everything of a request but the text of its last user message, and the embedder's version:
    /// a semantic search never leaves it.
    Partition
}
digest! {
    /// Everything of a request but the text of its last user message: what a similar request must have in common.
    SemanticKey
}
digest! {
    /// Who may see an answer: a tenant, and within it a user where the scope is `user`.
    Owner
}

/// A cheap-to-clone piece of text that is one kind of name and no other.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a text that the edge has already judged.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Whose cache it is: answers never cross tenants.
    TenantId
}
name! {
    /// A part of a tenant's cache, named by the caller.
    Namespace
}
name! {
    /// The end user on whose behalf a request is made; part of the key only where the scope is `user`.
    EndUser
}
name! {
    /// The resolved name of a model: a route's alias, else `provider/model`.
    ModelAlias
}
