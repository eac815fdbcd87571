"""Everyday posts that no moderation policy forbids, and a policy that hardly any post is about."""

from __future__ import annotations

from typing import Final

from moderator.policy import Policy, Rule

PLAIN_POSTS: Final = (
    "The bread came out flat again, I think my oven runs too cold.",
    "Finally finished the blue scarf I started in March.",
    "Does anybody know whether the library is open on Sunday?",
    "We walked around the lake this morning and saw two herons.",
    "My tomatoes are green, my neighbour's are red. Patience.",
    "The second season is slower, but the last two episodes are lovely.",
    "Rain all day, so we played board games and drank tea.",
    "I painted the hallway yellow and I am not sure yet.",
    "Happy birthday to my sister, who bakes better than I ever will!",
    "The train was twenty minutes late and still arrived before the bus.",
    "Which is easier for beginners, the ukulele or the recorder?",
    "Our cat has decided that the laundry basket is hers.",
    "Three weeks into learning Portuguese, and I can order coffee.",
    "The choir sings in the town hall on Friday at seven.",
    "I prefer the old logo, the new one looks like a spoon.",
    "Lunch: lentil soup, lemon, a lot of parsley.",
    "The bridge is closed until the end of the month, take the ferry.",
    "Today my daughter rode her bike without help for the first time.",
    "What do you all read on long flights?",
    "The maple in front of the school has turned orange overnight.",
    "I always forget whether the fork goes left or right.",
    "New chess club in the community centre, Tuesdays at six.",
    "The sunset over the harbour was pink and grey.",
    "My code works now and I have no idea why.",
    "Ten kilometres in just under an hour, slow but happy.",
    "We adopted the old beagle, and he snores like a tractor.",
    "Trying to keep a basil plant alive, attempt number four.",
    "The museum has a small exhibition about lighthouses.",
    "The match ended one all, which felt fair to both sides.",
    "I moved the desk to the window and now I watch pigeons all day.",
    "Grandfather's pocket watch still keeps time after sixty years.",
    "Could someone recommend a good pen for left-handers?",
    "First frost of the year, the whole garden looks like sugar.",
    "The pancakes stuck to the pan, so we had scrambled pancakes.",
    "Our book group picked a novel about beekeepers.",
    "Today I learned that otters hold hands when they sleep.",
    "The new bus timetable is easier to read than the old one.",
    "I miss the smell of the bakery in our old street.",
    "Half of my photos are of clouds, the other half of soup.",
    "The piano teacher says scales, so scales it is.",
    "We planted thirty tulip bulbs before it got dark.",
    "Is it too early to put up the lights?",
    "The children built a castle out of every cushion in the house.",
    "My headphones have chosen the left side as their favourite.",
    "Low tide today, the whole beach was full of shells.",
    "The recipe said ten minutes, the potatoes said forty.",
    "Congratulations to the graduates of our evening school!",
    "I wrote my first letter by hand in years, my wrist complains.",
    "The swallows are back under the barn roof.",
    "The lecture on medieval maps was better than its title.",
    "We finally fixed the squeaky door, the house feels quiet.",
    "Good morning from a foggy valley.",
    "Does the blue sweater go with brown shoes?",
    "The quiz team came second, by one point.",
    "I keep a list of words I like, today: lantern.",
    "The ferry has a tiny café with very good cocoa.",
    "Sorting old coins with my aunt all afternoon.",
    "The puppy met snow today and did not approve.",
    "Our street has new benches and the old men are pleased.",
    "Back from holiday with sand in every bag.",
)
"""English, by one author, written for this probe."""

UNRELATED: Final = {
    "dangerous": "hate",
    "harassment": "spam",
    "hate": "spam",
    "misinformation": "sexual",
    "privacy": "spam",
    "self-harm": "spam",
    "sexual": "misinformation",
    "spam": "hate",
    "violence": "spam",
}
"""For each shipped policy, a shipped one whose subject is another."""

SPOILERS: Final = Policy(
    slug="spoilers",
    version="1.0.0",
    title="Spoilers",
    prefix="T",
    rationale="People want to see a film or read a book without knowing how it ends.",
    scope="Posts about films, series and novels.",
    rules=(
        Rule(
            id="T1",
            title="Ending told",
            severity="low",
            action="label",
            text="Telling how a film, series or novel ends, without a warning before it.",
            violates=("The last scene, the culprit or the fate of a main character, told without a warning.",),
            does_not_violate=("A review that says nothing about the plot.", "A plot told after a spoiler warning."),
        ),
        Rule(
            id="T2",
            title="Twist told",
            severity="low",
            action="label",
            text="Telling a turn of the plot of a film, series or novel that its audience is meant to be surprised by.",
            violates=("Who a hidden character really is, told without a warning.",),
            does_not_violate=("A guess of somebody who has not seen it.",),
        ),
    ),
)
"""The unrelated policy for a policy that is not shipped."""
