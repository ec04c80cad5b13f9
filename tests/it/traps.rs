//! Sets of traps, through the server as it is shipped: none of them is ever answered by another prompt's entry.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::app::{TestApp, chat};

/// Stores the answers to these prompts and waits until they can be found by similarity.
async fn store_all(app: &TestApp, prompts: &[String]) {
    for some in prompts.chunks(8) {
        let answers = join_all(some.iter().map(|prompt| app.chat(chat(prompt)))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    app.indexed(prompts.len() as u64).await;
}

/// Returns how many of these prompts are answered from the cache; nobody is asked for the others.
async fn served(app: &TestApp, prompts: &[String]) -> Vec<String> {
    let cached = [("cache-control", "only-if-cached")];
    let mut served = Vec::new();
    for prompt in prompts {
        match app.chat_with(chat(prompt), &cached).await.status {
            200 => served.push(prompt.clone()),
            504 => {}
            status => panic!("{status} for {prompt}"),
        }
    }
    served
}

/// Two hundred texts that differ from one another in a few words each, which is as near as texts can be.
fn texts() -> Vec<String> {
    let who =
        ["The mayor", "A retired nurse", "Our youngest neighbour", "The new conductor", "Her former teacher"];
    let what = [
        "opened a small library",
        "planted forty apple trees",
        "repaired the old bridge",
        "sold a collection of stamps",
    ];
    let place = [
        "near the harbour",
        "behind the town hall",
        "at the edge of the forest",
        "next to the railway station",
        "in the valley",
    ];
    let why = ["because the council had asked for it", "although nobody had expected it"];
    let mut texts = Vec::new();
    for (who, what) in who.iter().flat_map(|who| what.iter().map(move |what| (who, what))) {
        for (place, why) in place.iter().flat_map(|place| why.iter().map(move |why| (place, why))) {
            texts.push(format!(
                "{who} {what} {place} last spring, {why}. The local paper wrote about it at length."
            ));
        }
    }
    texts
}

#[tokio::test]
async fn an_instruction_over_another_text_never_hits_and_the_instruction_may_be_reworded() {
    let texts = texts();
    assert_eq!(texts.len(), 200);
    let (first, second) = texts.split_at(100);
    for (instruction, reworded) in [
        ("Translate the following text into French:\n\n{}", "Translate this text into French:\n\n{}"),
        ("Summarise this text in one sentence:\n{}", "Please summarise this text in one sentence:\n{}"),
        (
            "Answer the question from the context.\n\nContext: {}\n\nQuestion: Who did it, and where?",
            "Please answer the question from the context.\n\nContext: {}\n\nQuestion: Who did it, and where?",
        ),
    ] {
        let app = TestApp::start().await;
        let with = |form: &str, texts: &[String]| -> Vec<String> {
            texts.iter().map(|text| form.replace("{}", text)).collect()
        };
        store_all(&app, &with(instruction, first)).await;
        assert_eq!(served(&app, &with(instruction, second)).await, Vec::<String>::new());
        assert_eq!(served(&app, &with(reworded, second)).await, Vec::<String>::new());
        // Its own text in other words around it: whatever is served is the answer to that text.
        let cached = [("cache-control", "only-if-cached")];
        for text in &first[..20] {
            let hit = app.chat_with(chat(&reworded.replace("{}", text)), &cached).await;
            if hit.status == 200 {
                assert!(hit.answer().contains(text.as_str()), "{}", hit.answer());
            }
        }
    }
}

#[tokio::test]
async fn in_languages_that_the_models_do_not_know_nothing_is_answered_by_similarity() {
    let app = TestApp::start().await;
    let pairs = [
        ("Wie setze ich mein Passwort zurück?", "Wie kann ich mein Passwort zurücksetzen?"),
        ("Was ist die Hauptstadt von Frankreich?", "Was ist die Hauptstadt von Spanien?"),
        ("Wie koche ich Reis?", "Wie kocht man Reis richtig?"),
        ("Erkläre mir die Relativitätstheorie", "Erkläre mir die Quantentheorie"),
        ("Kann ich meine Bestellung stornieren?", "Kann ich meine Bestellung noch stornieren?"),
        ("Schreibe ein Gedicht über den Herbst", "Schreibe ein Gedicht über den Winter"),
        ("Wie viel kostet der Versand nach Berlin", "Was kostet der Versand nach Berlin"),
        ("Rezept für Apfelkuchen", "Rezept für Pflaumenkuchen"),
        ("비밀번호를 어떻게 재설정하나요?", "비밀번호를 재설정하려면 어떻게 하나요?"),
        ("프랑스의 수도는 어디인가요?", "스페인의 수도는 어디인가요?"),
        ("밥을 어떻게 짓나요?", "죽을 어떻게 끓이나요?"),
        ("주문을 취소할 수 있나요?", "주문을 변경할 수 있나요?"),
        ("가을에 대한 시를 써 주세요", "겨울에 대한 시를 써 주세요"),
        ("상대성 이론을 설명해 주세요", "양자 이론을 설명해 주세요"),
    ];
    let stored: Vec<_> = pairs.iter().map(|(stored, _)| (*stored).to_owned()).collect();
    let asked: Vec<_> = pairs.iter().map(|(_, asked)| (*asked).to_owned()).collect();
    store_all(&app, &stored).await;
    assert_eq!(served(&app, &asked).await, Vec::<String>::new());
    assert_eq!(served(&app, &stored).await, stored, "equal prompts are equal in any language");
    let outcome =
        |outcome: &str| format!("refrain_cache_lookups_total{{tier=\"semantic\",outcome=\"{outcome}\"}}");
    let metrics = app.admin_get("/metrics").await;
    assert!(metrics.text().contains(&format!("{} 0", outcome("hit"))), "{}", json!(metrics.text()));
}
