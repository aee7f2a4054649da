"""Ask the local model twenty questions of callers: how many answers are right, and how soon they come.

The words differ from the `asks` of the receptionist's fact sheet. Some cannot be answered from it, some follow up on
what was asked before, some are what a recogniser makes of a bad line. TUNED were written before the matching was tuned
and served to tune it; SEEN came after that, then served too. HELD_OUT were written last, as a check. They entered the
tree together with the last changes to sheet and matching, and whoever wrote them knew both: no independent test, which
would need questions of people who have never seen the sheet.

    python -m bench.questions [--answers matched|both|model]
                              [--set tuned|seen|held-out|elsewhere|two-parts] [--json]
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.discovery import weights_folder
from schemas.agent import AgentDocument
from stages.llm.contract import ChatMessage, LanguageModel, ReplyRequest, TextDelta
from stages.llm.fact_retrieval import choose
from stages.llm.providers.local import open_provider
from stages.runtime.providers import ProviderContext

RECEPTIONIST = Path(__file__).parents[1] / "examples" / "agents" / "receptionist.json"
HANDS_OVER = r"don't have|not sure|connect you|colleague"  # the agent does not know, and offers a person


@dataclass(frozen=True)
class Question:
    """asked: the caller's words. right: what a right answer matches. near: beside the point, yet no nonsense.

    after: what the caller asked just before, for questions that follow up.
    """

    asked: str
    right: str
    near: str = r"(?!)"
    after: str = ""


TUNED = (
    Question("Hi there, good morning.", r"^(hello|hi|good)\b.*help"),
    Question("What time do you guys open up in the morning?", r"\b8 am"),
    Question("Could I come in on a Saturday?", r"saturday.*\b9\b.*\b1\b", near=r"website"),
    Question("And on Sunday?", r"closed on sunday", near=r"monday to friday", after="Could I come in on a Saturday?"),
    Question("How much would I pay to get my teeth cleaned?", r"\b85\b", near=r"dollars|card"),
    Question(
        "And how long does that take?",
        r"45 minutes",
        near=r"\b85\b",
        after="How much would I pay to get my teeth cleaned?",
    ),
    Question("Whereabouts are you exactly?", r"24 mill street"),
    Question("Is there anywhere I can leave my car?", r"free parking"),
    Question("I've got a terrible toothache, can someone see me today?", r"same day", near=r"555 0142"),
    Question("Something's come up and I can't make it on Thursday.", r"24 hours", near=r"website"),
    Question("My son is five, would you take him?", r"children"),
    Question("My mother uses a wheelchair, can she get in?", r"no steps"),
    Question("I'd like to make an appointment please.", r"book"),
    Question("how much is the check cup", r"\b60\b", near=r"dollars"),
    Question("are you taking on new patience", r"new patients"),
    Question("Are you a real person?", r"automated receptionist"),
    Question("Do you do dentures?", HANDS_OVER, near=r"dentists are"),
    Question("What's the weather going to be like tomorrow?", HANDS_OVER),
    Question("Can you recommend a good restaurant nearby?", HANDS_OVER),
    Question("Could you tell me the results of my blood test?", HANDS_OVER),
)

SEEN = (
    Question("Is Dr. Patel working today?", rf"dentists are|{HANDS_OVER}"),
    Question("until when can I come by tonight", r"\b6 pm"),
    Question("what would it cost to have my teeth made whiter", r"\b250\b", near=r"dollars"),
    Question("Can I spread out what I owe you?", r"six monthly"),
    Question("And at the weekend?", r"saturday", after="What time do you open?"),
    Question("I cracked a molar last night and it's killing me.", r"same day|555 0142"),
    Question("do you have a lift, I can't do stares", r"no steps"),
    Question("Can you give me a loan?", HANDS_OVER),
    Question("Could I speak with somebody who actually works there?", r"^of course.*connect you"),
    Question("Okay, that's everything, thank you.", r"goodbye|bye"),
    Question("yes hi I was wondering if you could squeeze me in this week", r"next free appointment", near=r"same day"),
    Question("How late can I still get there on a Friday?", r"\b6 pm"),
    Question("Do you bill my insurance directly?", r"insurance plans"),
    Question("what do I owe for a feeling", r"\b120\b", near=r"dollars"),
    Question("And for a whitening?", r"\b250\b", near=r"dollars", after="what do I owe for a feeling"),
    Question("My wisdom tooth is really hurting.", r"same day", near=r"555 0142|all the time you need"),
    Question("I've got two little ones, are they welcome?", r"children"),
    Question("Do you sell electric toothbrushes?", HANDS_OVER),
    Question("What's the capital of France?", HANDS_OVER),
    Question("Sorry, I got to go, talk to you later.", r"goodbye|bye", near=r"say it again|connect you"),
)


HELD_OUT = (
    Question("Which days of the week can people come by?", r"monday to friday"),
    Question("I need to push my visit to next week.", r"24 hours", near=r"website"),
    Question("Is the doctor a man or a woman?", r"lopez"),
    Question("What do you take, Visa or Mastercard?", r"card"),
    Question("do I need to park on the street", r"free parking", near=r"24 mill street"),
    Question("And what about on a bus?", r"number 12", after="do I need to park on the street"),
    Question("my daughter fell and her front tooth came out", r"same day", near=r"children"),
    Question("What's your cancel elation policy?", r"24 hours"),
    Question("Do you have any job openings?", HANDS_OVER),
    Question("Can you order me a taxi?", HANDS_OVER),
)

ELSEWHERE = tuple(  # questions outside of the fact sheet: any fact would be absurd
    Question(asked, HANDS_OVER)
    for asked in (
        "Do you also treat cats?",
        "Do you sell coffee?",
        "Can I pay with bitcoin?",
        "Do you have a swimming pool?",
        "How much is a haircut?",
        "Is my brother there today?",
        "Who is the president?",
        "How long is the river Nile?",
        "Do you take dogs?",
        "Where can I buy a car?",
        "Can you see the moon?",
        "I want to book a flight to Paris.",
        "What's your favourite colour?",
        "How old are you?",
        "When is the next train to Boston?",
        "Is the library open on Monday?",
    )
)

TWO_PARTS = (  # both halves must be answered
    Question("What does a check-up cost, and can I pay by card?", r"\b60\b.*card"),
    Question("When are you open and where can I park?", r"\b8 am.*free parking"),
    Question("Where are you? And do you take new patients?", r"24 mill street.*new patients"),
    Question("how much is a cleaning and how long does it take", r"\b85\b.*45 minutes"),
    Question("Are you open on Saturday and on Sunday?", r"9 am to 1 pm.*closed on sunday"),
    Question("Do you have parking, and is there a bus?", r"free parking.*number 12"),
    Question("Do you see children, and how do I book?", r"children.*book"),
    Question("Can I get in with a wheelchair, and do you take my insurance?", r"no steps.*insurance plans"),
    Question("Do you treat cats, and do you sell coffee?", HANDS_OVER),
    Question("How much is a check-up and a filling?", r"\b60\b.*\b120\b"),
)

SETS = {"tuned": TUNED, "seen": SEEN, "held-out": HELD_OUT, "elsewhere": ELSEWHERE, "two-parts": TWO_PARTS}


@dataclass(frozen=True)
class Outcome:
    """verdict: `right`; `wrong` (hands over what it could have known, or a neighbouring fact); `absurd` (all else)."""

    asked: str
    answer: str
    verdict: str
    first_ms: float
    total_ms: float


def judge(question: Question, answer: str) -> str:
    """Return the verdict on an answer, by patterns alone."""
    if re.search(question.right, answer, re.IGNORECASE | re.DOTALL):
        return "right"
    return "wrong" if re.search(f"{HANDS_OVER}|{question.near}", answer, re.IGNORECASE) else "absurd"


async def ask(model: LanguageModel, agent: AgentDocument, question: Question) -> Outcome:
    """Put one question as the llm stage does: facts chosen for it, then the reply as it streams."""
    history = (ChatMessage("user", question.after),) if question.after else ()
    began = time.perf_counter()
    facts = choose(agent.facts, question.asked, history)
    request = ReplyRequest("bench", agent.prompt, question.asked, history, facts)
    pieces: list[str] = []
    first = None
    async for item in model.reply(request):
        if isinstance(item, TextDelta):
            first = first or time.perf_counter() - began
            pieces.append(item.text)
    answer = "".join(pieces).strip()
    total = time.perf_counter() - began
    return Outcome(question.asked, answer, judge(question, answer), (first or total) * 1e3, total * 1e3)


async def run(questions: tuple[Question, ...], answers: str, weights: Path) -> list[Outcome]:
    """Ask every question in turn, of one warm model."""
    agent = AgentDocument.model_validate(json.loads(RECEPTIONIST.read_text()))
    async with (
        open_provider(ProviderContext(weights=weights)) as provider,
        provider.open({"answers": answers}) as model,
    ):
        return [await ask(model, agent, question) for question in questions]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", choices=["both", "matched", "model"], default="matched")
    parser.add_argument("--set", choices=SETS, default="tuned", dest="questions")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    outcomes = asyncio.run(run(SETS[options.questions], options.answers, weights_folder()))
    verdicts = [outcome.verdict for outcome in outcomes]
    first = sorted(outcome.first_ms for outcome in outcomes)
    p50, p95 = statistics.median(first), first[min(len(first) - 1, round(0.95 * (len(first) - 1)))]
    counts = {verdict: verdicts.count(verdict) for verdict in ("right", "wrong", "absurd")}
    if options.json:
        report = {"answers": options.answers, **counts, "first_ms": {"p50": p50, "p95": p95}}
        sys.stdout.write(json.dumps({**report, "outcomes": [asdict(outcome) for outcome in outcomes]}) + "\n")
        return 0
    for outcome in outcomes:
        sys.stdout.write(f"{outcome.verdict:6} {outcome.first_ms:6.0f} ms  {outcome.asked}\n{'':18}{outcome.answer}\n")
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    sys.stdout.write(
        f"\n{options.answers}: {summary} of {len(outcomes)}; first token p50 {p50:.0f} ms, p95 {p95:.0f} ms\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
