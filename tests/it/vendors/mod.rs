//! Every client's dialect with every vendor's: what the vendor hears, what the client gets, and what goes wrong between.

mod agents;
mod answers;
mod bodies;
pub mod cast;
pub mod client;
mod compatible;
mod counting;
mod crossing;
mod events;
mod failing;
mod inexpressible;
mod listing;
mod requests;
mod streaming;
