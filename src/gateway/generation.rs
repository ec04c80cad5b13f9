//! Stub.

use std::sync::Arc;

use super::GatewayError;
use crate::chat::{ChatResponse, Delta, Fingerprint};

#[derive(Debug)]
pub struct LiveAnswer {}

#[derive(Debug)]
pub struct Conclusion {
    pub answer: Arc<ChatResponse>,
    pub entry: Option<Fingerprint>,
    pub ttl_seconds: Option<i64>,
    pub latency_ms: f64,
}

impl LiveAnswer {
    pub async fn next(&mut self) -> Option<Result<Delta, GatewayError>> {
        None
    }
    pub fn conclusion(&self) -> Option<&Conclusion> {
        None
    }
}
