//! Texts as models write them, well and ill.

use proptest::prelude::*;
use serde_json::json;

use super::{Defect, Worth, is_endless, score};
use crate::chat::{
    ChatRequest, ChatResponse, Choice, FinishReason, JsonSchema, OutputFormat, Part, ToolCall, any_part,
};
use crate::config::{QualityConfig, QualityWeights};

/// A question and an answer.
type Case = (&'static str, String);

fn answered(text: &str, finish: FinishReason) -> ChatResponse {
    let choice = Choice { content: vec![Part::Text(text.into())], finish: Some(finish), ..Choice::default() };
    ChatResponse { choices: vec![choice], ..ChatResponse::default() }
}

fn worth(request: &ChatRequest, text: &str, finish: FinishReason) -> Worth {
    Worth::of(request, &answered(text, finish), &QualityWeights::default())
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (1..=count).map(|number| line(number) + "\n").collect()
}

/// Returns one of these, as good as by chance.
fn pick(number: usize, of: &[&'static str]) -> &'static str {
    of[(blake3::hash(&number.to_le_bytes()).as_bytes()[0] as usize * of.len()) / 256]
}

/// Good answers of some length, in the languages of the world.
const TONGUES: &[(&str, &str)] = &[
    (
        "Explain to a new colleague why the sky is blue during the day and red in the evening.",
        "Sunlight looks white, but it is a mixture of every colour of the rainbow. When it passes through the air, the \
         tiny molecules scatter short waves far more strongly than long ones, so blue light reaches our eyes from every \
         direction and the whole sky seems blue. In the evening the light comes in low and has a much longer way \
         through the air. Most of the blue is scattered out of the beam before it arrives, and what remains is orange \
         and red.",
    ),
    (
        "Explique pourquoi les avions volent et pourquoi ils ne tombent pas pendant le voyage.",
        "Un avion vole parce que ses ailes dévient l’air vers le bas : en retour, l’air pousse l’aile vers le haut. Cette \
         force, la portance, grandit avec la vitesse et avec l’angle de l’aile. Les moteurs, eux, compensent la \
         traînée. Tant que la portance égale le poids, l’appareil garde son altitude ; si la vitesse baisse trop, \
         l’aile décroche, et le pilote doit rendre la main pour retrouver de l’air sain.",
    ),
    (
        "Warum ist Brot nach einem Tag hart, und wie hält man es länger frisch?",
        "Brot wird hart, weil die Stärke in der Krume beim Abkühlen wieder Kristalle bildet und das Wasser dabei \
         abgibt. Das geschieht am schnellsten bei etwa vier Grad, deshalb gehört Brot nicht in den Kühlschrank. Am \
         besten liegt es mit der Schnittfläche nach unten in einem Topf aus Ton. Wer mehr gebacken hat, als er essen \
         kann, friert es ein; aufgetaut und kurz aufgebacken schmeckt es fast wie am ersten Tag.",
    ),
    (
        "¿Por qué hay mareas en el mar y cuántas veces al día suben y bajan?",
        "Las mareas se deben sobre todo a la atracción de la Luna, y en menor medida a la del Sol. La Luna atrae con más \
         fuerza el agua que tiene delante que la que queda al otro lado, de modo que se forman dos abultamientos \
         opuestos. Como la Tierra gira bajo ellos, en la mayoría de las costas el mar sube y baja dos veces al día, \
         con unas seis horas y doce minutos entre pleamar y bajamar.",
    ),
    (
        "Расскажи, почему зимой идёт снег, а летом дождь, и откуда берётся град.",
        "Облака состоят из мельчайших капель и кристаллов льда. Высоко в небе почти всегда холодно, поэтому осадки чаще \
         всего зарождаются как снежинки. Летом они тают по дороге вниз и падают дождём, а зимой воздух у земли тоже \
         холодный, и снег не успевает растаять. Град возникает в грозовых облаках: сильный поток много раз поднимает \
         каплю вверх, она обрастает слоями льда и наконец становится слишком тяжёлой.",
    ),
    (
        "为什么人需要睡觉？睡眠不足会有什么后果？",
        "睡眠是大脑和身体恢复的时间。睡着以后，大脑会整理白天的记忆，清除代谢产生的废物，身体则分泌生长激素，修复受损的组织。\
         如果长期睡眠不足，注意力和反应速度会明显下降，情绪也容易波动。研究还发现，缺觉的人更容易感冒、发胖，患高血压和糖尿病的\
         风险也更高。一般来说，成年人每天应当睡七到九个小时，而且作息越规律越好。",
    ),
    (
        "日本の四季について、外国人の友だちに手紙で説明してください。",
        "日本には春、夏、秋、冬の四つの季節があります。春は桜が咲き、人々は木の下でお花見を楽しみます。夏は暑くて湿気が多いですが、\
         花火大会や祭りがあって賑やかです。秋になると山が赤や黄色に染まり、空気も澄んで、食べ物がとてもおいしくなります。\
         冬は地方によって雪がたくさん降り、こたつに入ってみかんを食べるのが楽しみです。どの季節にもそれぞれの良さがあるので、\
         ぜひ一度遊びに来てください。",
    ),
    (
        "ทำไมเราต้องดื่มน้ำทุกวัน และควรดื่มวันละเท่าไร",
        "ร่างกายของเรามีน้ำเป็นส่วนประกอบมากกว่าครึ่งหนึ่ง น้ำช่วยพาสารอาหารไปเลี้ยงเซลล์ ช่วยควบคุมอุณหภูมิ \
         และช่วยขับของเสียออกทางเหงื่อและปัสสาวะ ถ้าดื่มน้ำไม่พอจะรู้สึกเหนื่อย ปวดศีรษะ และไม่มีสมาธิ โดยทั่วไปควรดื่มวันละ\
         ประมาณหกถึงแปดแก้ว แต่ถ้าอากาศร้อนหรือออกกำลังกายก็ควรดื่มมากขึ้น",
    ),
    (
        "لماذا تهاجر الطيور كل عام وكيف تعرف طريقها؟",
        "تهاجر الطيور لأن الغذاء يقل في الشتاء، فتنتقل إلى بلاد أدفأ ثم تعود في الربيع لتتكاثر حيث يطول النهار ويكثر \
         الطعام. وهي تهتدي بالشمس نهارًا وبالنجوم ليلًا، وتحس بالمجال المغناطيسي للأرض كأن في أجسامها بوصلة. كما تتذكر \
         الأنهار والجبال التي مرت بها من قبل، وتتعلم الصغار الطريق من الكبار في رحلتها الأولى.",
    ),
    (
        "बारिश कैसे होती है? बच्चों को समझाने के लिए सरल भाषा में बताइए।",
        "सूरज की गर्मी से नदियों, तालाबों और समुद्र का पानी भाप बनकर ऊपर उठता है। ऊपर हवा ठंडी होती है, इसलिए भाप छोटी-छोटी \
         बूँदों में बदल जाती है और बादल बनते हैं। जब ये बूँदें आपस में मिलकर बड़ी और भारी हो जाती हैं, तब बादल उन्हें \
         संभाल नहीं पाते और वे बारिश बनकर नीचे गिरती हैं। फिर यही पानी नदियों से होकर समुद्र में लौट जाता है।",
    ),
    (
        "한국의 김치는 어떻게 만들고 왜 건강에 좋다고 하나요?",
        "김치는 배추를 소금에 절인 다음 고춧가루, 마늘, 생강, 젓갈로 만든 양념을 버무려 담급니다. 며칠 동안 서늘한 곳에 두면 \
         유산균이 자라면서 새콤한 맛이 납니다. 이 유산균은 장의 건강을 돕고, 채소에는 비타민과 식이섬유가 풍부합니다. 다만 \
         소금이 많이 들어가므로 혈압이 높은 사람은 양을 조절하는 것이 좋습니다.",
    ),
    (
        "Por que as folhas das árvores caem no outono em tantos países?",
        "No outono os dias ficam mais curtos e mais frios, e a árvore já não consegue tirar do sol a energia que as folhas \
         custam. Ela recolhe o que tem valor, a clorofila se desfaz, e aparecem os amarelos e vermelhos que estavam \
         escondidos. Por fim forma-se uma camada de células na base de cada folha, que corta a ligação com o ramo. Sem \
         folhas, a árvore perde menos água no inverno e não se parte com o peso da neve.",
    ),
];

/// Good answers that are short, or made of anything but sentences.
fn other_good_answers() -> Vec<Case> {
    vec![
        ("What is six times seven?", "42".into()),
        ("Is Paris the capital of France?", "Yes.".into()),
        ("Is it raining?", "no".into()),
        ("How did you like it? One emoji, please.", "👍".into()),
        ("Give me an empty object.", "{}".into()),
        ("Which letter comes first in the Greek alphabet, and how is it written?", "α".into()),
        ("Translate \u{201c}good morning\u{201d} into Japanese.", "おはようございます".into()),
        ("Name the colours of the French flag, in order, nothing else.", "blue, white, red".into()),
        ("Laugh for me.", "ha ha ha ha ha ha ha ha ha ha".into()),
        ("Celebrate!", "🎉".repeat(12)),
        ("Write a function in Rust that adds up a list.", "```rust\nfn sum(numbers: &[i64]) -> i64 {\n    numbers.iter().sum()\n}\n```".into()),
        (
            "Write tests for `add`.",
            format!("```rust\n#[test]\nfn adds() {{\n{}}}\n```\n\nRun them with `cargo test`.", lines(40, |n| {
                format!("    assert_eq!(add({n}, {}), {});", n + 1, 2 * n + 1)
            })),
        ),
        ("Show the fields of a user.", "| field | type | required |\n|---|---|---|\n| id | integer | yes |\n| name | text | yes |\n| email | text | no |\n".into()),
        (
            "Show the truth table of five inputs where the output is the last one.",
            format!("| A | B | C | D | E | out |\n|---|---|---|---|---|---|\n{}", lines(32, |n| {
                let bits: Vec<_> = format!("{:05b}", n - 1).chars().map(String::from).collect();
                format!("| {} | {} |", bits.join(" | "), (n - 1) % 2)
            })),
        ),
        ("Count from 1 to 500.", (1..=500).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")),
        ("Make up a hundred users as CSV.", lines(100, |n| format!("{n},user{n},user{n}@example.com,active"))),
        (
            "Make up what a health check would log.",
            lines(100, |n| format!("2026-11-20T10:{:02}:{:02}Z INFO health check passed", n / 60, n % 60)),
        ),
        ("Insert sixty users.", lines(60, |n| format!("INSERT INTO users (id, name) VALUES ({n}, 'User {n}');"))),
        ("Which answers are right? A to D for each question.", lines(100, |n| format!("{n}. {}", pick(n, &["A", "B", "C", "D"])))),
        (
            "Give me the nursery rhyme about the boat.",
            "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n\n".repeat(2),
        ),
        (
            "Sing the song of the bottles.",
            lines(40, |n| {
                let (now, then) = (100 - n, 99 - n);
                format!("{now} bottles of beer on the wall, {now} bottles of beer.\nTake one down and pass it around, {then} bottles of beer on the wall.\n")
            }),
        ),
        (
            "Write a poem with a refrain about the sea.",
            "The harbour sleeps, the lamps are low,\nThe sea comes home, the sea comes home.\nThe nets are mended, row by row,\n\
             The sea comes home, the sea comes home.\nA bell is ringing far below,\nThe sea comes home, the sea comes home."
                .into(),
        ),
        ("Give me 200 random bytes as hex.", (0..400).map(|n| pick(n, &["0", "2", "4", "7", "a", "c", "f"])).collect()),
        ("A made up stretch of DNA, please.", (0..800).map(|n| pick(n, &["A", "C", "G", "T"])).collect()),
        ("Set up the board.", "8 | r n b q k b n r\n7 | p p p p p p p p\n6 | . . . . . . . .\n5 | . . . . . . . .\n4 | . . . . . . . .\n3 | . . . . . . . .\n2 | P P P P P P P P\n1 | R N B Q K B N R\n    a b c d e f g h".into()),
        ("How do I install it?", "1. Download the archive.\n2. Unpack it where you like.\n3. Add the folder to your `PATH`.\n\nThen run:\n\n```sh\nrefrain serve\n```\n\nThat is all.".into()),
        ("Where can I read more about this? Please give me a link to the documentation page.", "There is a whole chapter about it. It begins with an example. You will find it at https://example.com/docs/chapter-4".into()),
        ("True or false?", lines(100, |n| format!("{n}. {}", pick(n, &["True", "False"])))),
        ("Sign the letter in my name.", "Thank you for your patience. We shall be in touch.\n\nYours sincerely,\nAda Lovelace".into()),
        ("What does the tab character look like in C?", "It is written `\\t`, and its code is 9.".into()),
        ("Write a hundred times: I will not talk. 100 times!", "I will not talk.\n".repeat(100)),
    ]
}

/// What comes out when a model, its sampling or its server has lost its way.
fn gibberish() -> Vec<Case> {
    let paragraph = "The city lies on the river and has done so since Roman times. It is known for its bridges, its market \
                     and its university, which was founded in the year in which the plague ended. ";
    let salad = |n: usize| pick(n, &["of", "the", "and", "to", "a", "in"]);
    vec![
        ("What is the capital of France?", "the ".repeat(60)),
        ("What is the capital of France?", "the ".repeat(2_000)),
        ("What is the capital of France?", "Paris, ".repeat(50)),
        ("What is the capital of France?", "The capital of France is Paris. ".repeat(12)),
        ("What is the capital of France?", "What is the capital of France? ".repeat(80)),
        ("Tell me about the city.", paragraph.repeat(12)),
        ("Tell me about the city.", format!("It is old and fair, and worth a day. {}", paragraph.repeat(20))),
        ("How do I keep my account safe?", lines(60, |n| format!("{n}. Use a strong and unique password."))),
        ("How do I keep my account safe?", lines(20, |n| format!("{n}. Use a strong and unique password."))),
        ("Which fruit do you like?", lines(30, |n| "apple ".repeat(n))),
        ("Hello!", "<|im_start|>assistant\n<|im_end|>\n".repeat(12)),
        ("Hello!", "<|im_end|>".repeat(200)),
        ("Hello!", "!".repeat(1_000)),
        ("Hello!", "0".repeat(5_000)),
        ("Hello!", "\n \n".repeat(400)),
        ("Hello!", "\u{fffd}\u{fffd}\u{fffd} \u{fffd}o\u{fffd}".repeat(6)),
        ("Hello!", "\u{0}\u{1}\u{2}\u{0}\u{5}x".repeat(6)),
        ("Bonjour !", "L’Ã©tÃ© dernier, les Ã©lÃ¨ves Ã©taient trÃ¨s fatiguÃ©s aprÃ¨s l’Ã©cole.".into()),
        ("Tell me a story.", (0..800).map(salad).collect::<Vec<_>>().join(" ")),
        ("介绍一下北京。", "北京是中国的首都，".repeat(40)),
        ("Расскажи о Москве.", "Москва это город и ".repeat(40)),
        ("Hello!", " \n".into()),
        ("Draw a table of the planets.", format!("| planet | moons |\n|{}", "-".repeat(3_000))),
    ]
}

#[test]
fn good_answers_have_no_defect_and_lie_above_the_line() {
    let tongues = TONGUES.iter().map(|(question, answer)| (*question, (*answer).to_owned()));
    for (question, answer) in tongues.chain(other_good_answers()) {
        let worth = worth(&ChatRequest::from_prompt(question), &answer, FinishReason::Stop);
        assert_eq!(worth.defect, None, "{answer}");
        assert!(worth.score > 0.8, "{}: {answer}", worth.score);
    }
}

#[test]
fn a_good_answer_is_no_worse_at_any_moment_of_its_coming() {
    for (_, answer) in TONGUES {
        for at in (0..answer.len()).step_by(5).filter(|at| answer.is_char_boundary(*at)) {
            assert!(!is_endless(&answer[..at]), "{}", &answer[..at]);
        }
    }
    for (_, answer) in other_good_answers() {
        let is_asked_for = answer.starts_with("I will not talk");
        for at in (0..answer.len()).step_by(331).filter(|at| answer.is_char_boundary(*at)) {
            assert!(is_asked_for || !is_endless(&answer[..at]), "{}", &answer[..at]);
        }
    }
}

#[test]
fn a_question_that_goes_round_itself_may_be_quoted() {
    let data = "0.25 0.25 0.5 | left | ".repeat(200);
    let request = ChatRequest::from_prompt(format!("Put this into a code block: {data}"));
    let quoted = format!("```\n{data}\n```");
    let quote = worth(&request, &quoted, FinishReason::Stop);
    assert!(quote.defect.is_none() && quote.score > 0.8, "{quote:?}");
    let other = worth(&ChatRequest::from_prompt("Hello!"), &quoted, FinishReason::Stop);
    assert_eq!(other.defect, Some(Defect::Endless));
}

#[test]
fn gibberish_is_a_defect_or_lies_below_the_line() {
    let line = QualityConfig::default().store_threshold;
    for (question, answer) in gibberish() {
        for finish in [FinishReason::Stop, FinishReason::Length] {
            // Nothing may be said for lack of room.
            if answer.trim().is_empty() && finish == FinishReason::Length {
                continue;
            }
            let worth = worth(&ChatRequest::from_prompt(question), &answer, finish);
            assert!(worth.score < line, "{worth:?}: {}", answer.chars().take(200).collect::<String>());
        }
    }
}

#[test]
fn json_that_was_asked_for_is_good_and_what_is_none_is_worth_nothing() {
    let users: Vec<_> =
        (0..60).map(|id| json!({"id": id, "name": format!("User {id}"), "isActive": true})).collect();
    let mut request = ChatRequest::from_prompt("Make up sixty users.");
    request.output_format = OutputFormat::JsonObject;
    let good = serde_json::to_string_pretty(&json!({ "users": users })).unwrap();
    for good in [good.as_str(), "{}", "{\"answer\": 42}"] {
        let worth = worth(&request, good, FinishReason::Stop);
        assert!(worth.defect.is_none() && worth.score > 0.8, "{worth:?}: {good}");
    }
    for bad in [&good[..good.len() - 5], "Sure! {}", "[]"] {
        let worth = worth(&request, bad, FinishReason::Stop);
        assert_eq!((worth.defect, worth.score), (Some(Defect::InvalidJson), 0.0), "{bad}");
    }
    let cut = worth(&request, &good[..good.len() / 2], FinishReason::Length);
    assert!(cut.defect.is_none() && cut.score < QualityConfig::default().store_threshold, "{cut:?}");
}

#[test]
fn a_flaw_costs_something_and_no_more_than_that() {
    let (question, good) = TONGUES[0];
    let request = ChatRequest::from_prompt(question);
    let flawed = |text: &str| worth(&request, text, FinishReason::Stop).score;
    let best = flawed(good);
    let sentence_cut = good.trim_end_matches(" is orange and red.");
    let open_block = format!("{good}\n\n```python\nprint('blue')\n");
    let marks = format!("{good}<|im_end|>");
    let broken = good.replacen("light", "l\u{fffd}ght", 3);
    for (name, text) in
        [("cut", sentence_cut), ("open block", &open_block), ("marks", &marks), ("broken", &broken)]
    {
        let score = flawed(text);
        assert!(score < best - 0.02 && score > 0.3, "{name}: {score} of {best}");
    }
}

#[test]
fn an_answer_to_another_question_is_worth_less() {
    let (question, answer) = TONGUES[0];
    let other =
        "How do glaciers carve valleys, and why are Norwegian fjords deeper inland than at their mouth?";
    let worth = |question| worth(&ChatRequest::from_prompt(question), answer, FinishReason::Stop).score;
    assert!(worth(other) < worth(question) - 0.05, "{} of {}", worth(other), worth(question));
    assert!(worth(other) > 0.5, "it may be a translation");
}

#[test]
fn a_refusal_is_worth_little_and_a_call_of_a_tool_needs_no_words() {
    let request = ChatRequest::from_prompt("q");
    let refused = worth(&request, "I'm sorry, but I can't help with that.", FinishReason::Stop);
    assert!(refused.defect.is_none() && refused.score < 0.5, "{refused:?}");
    let mut called = answered("", FinishReason::ToolCalls);
    called.choices[0].content = vec![Part::ToolCall(ToolCall::default())];
    assert_eq!(score(&request, &called, &QualityWeights::default()), 1.0);
}

#[test]
fn the_worst_choice_decides() {
    let request = ChatRequest::from_prompt("q");
    let mut answer = answered("Paris.", FinishReason::Stop);
    let good = score(&request, &answer, &QualityWeights::default());
    answer.choices.push(answered("the ".repeat(60).as_str(), FinishReason::Stop).choices.remove(0));
    let both = Worth::of(&request, &answer, &QualityWeights::default());
    assert!(good > 0.9 && both.score < 0.3 && both.defect.is_none(), "{both:?}");
    answer.choices.push(answered("", FinishReason::Stop).choices.remove(0));
    assert_eq!(Worth::of(&request, &answer, &QualityWeights::default()).defect, Some(Defect::Empty));
}

#[test]
fn weights_say_what_counts_and_without_any_everything_is_fine() {
    let none = QualityWeights {
        length: 0.0,
        repetition: 0.0,
        integrity: 0.0,
        keywords: 0.0,
        refusal: 0.0,
        format: 0.0,
    };
    let request = ChatRequest::from_prompt("q");
    let loops = answered(&"the ".repeat(60), FinishReason::Stop);
    assert_eq!(score(&request, &loops, &none), 1.0);
    let only = QualityWeights { repetition: 2.0, ..none };
    assert!(score(&request, &loops, &only) < 0.02);
    let huge = QualityWeights { length: f64::MAX, repetition: f64::MAX, ..none };
    assert!((score(&request, &loops, &huge) - 0.1).abs() < 1e-9, "the middle between 1 and a hundredth");
}

proptest! {
    #[test]
    fn the_score_of_any_answer_lies_between_0_and_1(
        prompt in any::<String>(), parts in prop::collection::vec(any_part(), 0..4), format in 0..3_u8,
        finish in 0..5_u8, weights in prop::array::uniform6(prop_oneof![Just(0.0), 0.0..10.0, any::<f64>()]),
    ) {
        let mut request = ChatRequest::from_prompt(prompt);
        let schema = Some(json!({"type": "object", "required": ["a"]}));
        request.output_format = match format {
            0 => OutputFormat::Text,
            1 => OutputFormat::JsonObject,
            _ => OutputFormat::JsonSchema(JsonSchema { name: None, description: None, schema, strict: None }),
        };
        let finish = [FinishReason::Stop, FinishReason::Length, FinishReason::ToolCalls, FinishReason::Refusal].get(finish as usize).cloned();
        let choice = Choice { content: parts, finish, ..Choice::default() };
        let answer = ChatResponse { choices: vec![choice], ..ChatResponse::default() };
        let [length, repetition, integrity, keywords, refusal, format] = weights;
        let weights = QualityWeights { length, repetition, integrity, keywords, refusal, format };
        let score = score(&request, &answer, &weights);
        prop_assert!((0.0..=1.0).contains(&score), "{score}");
    }

    #[test]
    fn any_text_can_be_judged(text in "(\\PC|\\n|```|<\\||\\|>|[.!?]|\u{fffd}|\u{0}){0,60}", times in 1..40_usize) {
        let text = text.repeat(times);
        let score = worth(&ChatRequest::from_prompt(text.clone()), &text, FinishReason::Stop).score;
        prop_assert!((0.0..=1.0).contains(&score), "{score}");
    }
}
