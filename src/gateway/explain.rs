//! Why was it a hit, or why not? Calls no provider and changes nothing.

use std::time::Duration;

use super::{Ask, Gateway, GatewayError, Plan, question};
use crate::cache::{Judged, Question, SemanticTier};
use crate::chat::{ChatRequest, Entry, Fingerprint, Partition, Source, Tier};
use crate::checks::{ExactOnly, RouteReading};
use crate::config::CacheMode;
use crate::store::ExactReason;

/// The whole story of a request, as it would go now.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// `serve`, `miss` or `bypass`.
    pub decision: &'static str,
    /// Who would answer, for `serve`.
    pub source: Option<Source>,
    pub key: Option<Fingerprint>,
    /// `None` for a request that only an equal one may answer.
    pub partition: Option<Partition>,
    pub policy: PolicyReading,
    pub tiers: Vec<TierReading>,
    /// The nearest entries of the partition, best first.
    pub candidates: Vec<Candidate>,
    /// The nearest entry outside the partition, and what sets it apart.
    pub stranger: Option<Stranger>,
    /// What checks have found of the route's semantic hits.
    pub checks: RouteReading,
}

/// What policy says of the request.
#[derive(Clone, Debug)]
pub struct PolicyReading {
    pub read: bool,
    pub write: bool,
    pub volatile: bool,
    pub reason: Option<String>,
}

/// What a tier has.
#[derive(Clone, Debug)]
pub struct TierReading {
    pub tier: Tier,
    /// `hit`, `miss`, `skipped`, or what broke.
    pub outcome: String,
}

/// A neighbour, judged by every layer.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub entry: Fingerprint,
    pub prompt: String,
    pub similarity: f32,
    /// The score by verifier and similarity.
    pub verifier: Option<f32>,
    pub served: bool,
    pub layers: Vec<LayerReading>,
}

/// What one layer says.
#[derive(Clone, Debug)]
pub struct LayerReading {
    pub layer: &'static str,
    /// `pass`, `veto` or `skipped`.
    pub verdict: &'static str,
    pub reason: Option<String>,
}

/// An entry that would have been near, were it not for another part of its request.
#[derive(Clone, Debug)]
pub struct Stranger {
    pub entry: Fingerprint,
    pub similarity: f32,
    pub differs_in: Vec<&'static str>,
}

/// How long a person waits for the semantic tier.
const PATIENCE: Duration = Duration::from_secs(10);

impl Gateway {
    /// Tells what would become of a request now, and why.
    ///
    /// # Errors
    /// Only for a model that is not known.
    pub async fn explain(&self, ask: Ask) -> Result<Explanation, GatewayError> {
        let mut plan = self.plan(&ask)?;
        self.narrow(&mut plan, &ask.request);
        let checks = self.checks.reading(&plan.route.label);
        let question = question(&ask, &plan);
        let exact = self.exact_readings(&question, &plan).await;
        let mut tiers = exact.readings;
        let mut candidates = Vec::new();
        let mut stranger = None;
        let mut partition = None;
        let mut outcome = "skipped".to_owned();
        if let Some((tier, key)) = self.cache.semantic().zip(plan.key.semantic) {
            partition = Some(key.partition(tier.embedder().version().as_str()));
            let judged = tokio::time::timeout(PATIENCE, self.semantic_readings(tier, &question)).await;
            match judged.unwrap_or_else(|_| Err("no answer in 10 s".to_owned())) {
                Ok((found, apart)) => {
                    let is_served = found.iter().any(|candidate| candidate.served);
                    outcome = match (plan.policy.read, is_served) {
                        (CacheMode::Semantic, true) => "hit",
                        (CacheMode::Shadow, true) => "shadow_hit",
                        (CacheMode::Semantic | CacheMode::Shadow, false) => "miss",
                        (CacheMode::Off | CacheMode::Exact, _) => "skipped",
                    }
                    .to_owned();
                    (candidates, stranger) = (found, apart);
                }
                Err(reason) => outcome = reason,
            }
        }
        tiers.push(TierReading { tier: Tier::Semantic, outcome: outcome.clone() });
        let is_semantic_hit = outcome == "hit";
        let (decision, source) = match (plan.policy.is_bypass(), exact.is_hit, is_semantic_hit) {
            (true, ..) => ("bypass", None),
            (false, true, _) => ("serve", Some(Source::Exact)),
            (false, false, true) => ("serve", Some(Source::Semantic)),
            (false, false, false) => ("miss", None),
        };
        // A candidate that passes every layer still waits behind an equal request.
        if exact.is_hit || plan.policy.read != CacheMode::Semantic {
            for candidate in &mut candidates {
                candidate.served = false;
            }
        }
        Ok(Explanation {
            decision,
            source,
            key: (!plan.policy.is_bypass()).then_some(plan.key.fingerprint),
            partition,
            policy: reading(&plan, checks.exact_only),
            tiers,
            candidates,
            stranger,
            checks,
        })
    }

    async fn exact_readings(&self, question: &Question<'_>, plan: &Plan) -> ExactReadings {
        if plan.policy.read == CacheMode::Off {
            let skipped = |tier| TierReading { tier, outcome: "skipped".to_owned() };
            return ExactReadings {
                readings: vec![skipped(Tier::Memory), skipped(Tier::Store)],
                is_hit: false,
            };
        }
        let (memory, store) = self.cache.peek(question).await;
        let is_hit = memory == "hit" || store == "hit";
        let readings = vec![
            TierReading { tier: Tier::Memory, outcome: memory.to_owned() },
            TierReading { tier: Tier::Store, outcome: store },
        ];
        ExactReadings { readings, is_hit }
    }

    async fn semantic_readings(
        &self,
        tier: &SemanticTier,
        question: &Question<'_>,
    ) -> Result<(Vec<Candidate>, Option<Stranger>), String> {
        let judged = tier.judge(&self.cache, question).await?;
        let apart = tier.nearest_stranger(&self.cache, question).await?;
        let candidates = judged.into_iter().map(candidate).collect();
        let stranger = apart.map(|(entry, similarity)| Stranger {
            entry: entry.key,
            similarity,
            differs_in: differences(question, &entry),
        });
        Ok((candidates, stranger))
    }
}

struct ExactReadings {
    readings: Vec<TierReading>,
    is_hit: bool,
}

fn reading(plan: &Plan, exact_only: Option<ExactOnly>) -> PolicyReading {
    let policy = &plan.policy;
    let reason = match policy.write {
        Err(skip) => Some(skip.name().to_owned()),
        Ok(()) if policy.is_volatile => {
            Some("it asks about now: equal requests only, and not for long".to_owned())
        }
        Ok(()) if plan.key.semantic.is_none() => {
            Some("its last turn is not plain text of the user: equal requests only".to_owned())
        }
        Ok(()) => exact_only.map(|ExactOnly { reason, .. }| {
            let why = match reason {
                ExactReason::Checks => "too many checked answers to similar prompts were wrong",
                ExactReason::Person => "somebody switched similar prompts off",
            };
            format!("{why}: equal requests only, until `refrain semantic on --model {}`", plan.route.label)
        }),
    };
    PolicyReading {
        read: policy.read != CacheMode::Off,
        write: policy.write.is_ok(),
        volatile: policy.is_volatile,
        reason,
    }
}

fn candidate(judged: Judged) -> Candidate {
    let mut layers: Vec<_> = judged
        .layers
        .into_iter()
        .map(|explained| LayerReading {
            layer: explained.layer.name(),
            verdict: explained.verdict.name(),
            reason: explained.reason,
        })
        .collect();
    if judged.is_alias {
        let reason =
            Some("an administrator said that one answer serves both, so no layer is asked".to_owned());
        layers.insert(0, LayerReading { layer: "alias", verdict: "pass", reason });
    }
    for (layer, reason) in judged.objections {
        layers.insert(0, LayerReading { layer, verdict: "veto", reason: Some(reason) });
    }
    Candidate {
        entry: judged.entry.key,
        prompt: judged.entry.request.last_prompt().unwrap_or("").to_owned(),
        similarity: judged.similarity,
        verifier: judged.score,
        served: judged.is_served,
        layers,
    }
}

/// Names the parts in which two requests of one owner differ, so that each is another partition's.
fn differences(question: &Question<'_>, entry: &Entry) -> Vec<&'static str> {
    let (asked, stored) = (question.request, &*entry.request);
    let system = |request: &ChatRequest| question.rules.keyed_instructions(request);
    let earlier = |request: &ChatRequest| {
        let turns = &request.messages[..request.messages.len() - 1];
        turns.iter().filter(|turn| !turn.role.is_instruction()).cloned().collect::<Vec<_>>()
    };
    let parts = [
        ("namespace", question.namespace != &entry.namespace),
        ("model", question.model != &entry.model),
        ("system", system(asked) != system(stored)),
        ("turns", earlier(asked) != earlier(stored)),
        ("tools", asked.tools != stored.tools || asked.tool_choice != stored.tool_choice),
        ("output_format", asked.output_format != stored.output_format),
        ("sampling", asked.sampling != stored.sampling),
        ("unknown_fields", asked.unknown != stored.unknown),
    ];
    parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
}
