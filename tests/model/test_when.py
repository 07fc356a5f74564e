"""Times of schedules as people say them, and what they are told when nobody can understand them."""

import pytest

from penstock.errors import ConfigurationError
from penstock.model.when import When, read_when

CRON = {
    "hourly": "0 * * * *",
    "@hourly": "0 * * * *",
    "hourly at :15": "15 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "every day": "0 0 * * *",
    "daily at 9:00": "0 9 * * *",
    "Daily  at 09:30": "30 9 * * *",
    "every day at 5:45 pm": "45 17 * * *",
    "daily at 12am": "0 0 * * *",
    "daily at noon": "0 12 * * *",
    "daily at 9:30, 13:30 and 18:30": "30 9,13,18 * * *",
    "mondays at 8:30": "30 8 * * 1",
    "every monday at 8.30": "30 8 * * 1",
    "weekly on sunday at 6:00": "0 6 * * 0",
    "mondays, wed and fridays at 17:00": "0 17 * * 1,3,5",
    "weekdays at 9": "0 9 * * 1-5",
    "weekends at 10:00": "0 10 * * 0,6",
    "fridays": "0 0 * * 5",
    "monthly on the 1st at 6:00": "0 6 1 * *",
    "monthly on the 1st and 15th at 6:00": "0 6 1,15 * *",
    "monthly on day 3": "0 0 3 * *",
    "monthly on the last day at 18:00": "0 18 L * *",
    "0 9 * * mon-fri": "0 9 * * MON-FRI",
    "*/15  8-18 * * *": "*/15 8-18 * * *",
}
EVERY = {
    "every 15 minutes": 900,
    "every minute": 60,
    "every hour": 3600,
    "every 2 hours": 7200,
    "every 1.5h": 5400,
    "every 90 seconds": 90,
    "every 2 days": 172_800,
    "every week": 604_800,
}
WRONG = {
    "": "text of up to",
    "x" * 300: "text of up to",
    "sometimes": "'sometimes' is no day of the week",
    "daily at 25:00": "25 is not between 0 and 23",
    "daily at 9:75": "75 is not between 0 and 59",
    "daily at nine": "'nine' is no time of the day",
    "daily at 13pm": "13 is not between 1 and 12",
    "daily at 9:00 and 17:30": "a schedule each",
    "moondays at 9:00": "'moondays' is no day of the week",
    "every 5 fortnights": "'fortnights' is no unit",
    "every 0 minutes": "at least a second",
    "every 99999 weeks": "at most ten years",
    "monthly on the 32nd at 9:00": "32 is not between 1 and 31",
    "monthly on tuesday at 9:00": "'tuesday' is no day of the month",
    "hourly at 60": "60 is not between 0 and 59",
    "@reboot": "submit a task where your program starts",
    "@noon": "@noon is unknown; there are @hourly",
    "* * * *": "has 4 fields",
    "0 0 9 * * *": "for seconds say such as",
}


@pytest.mark.parametrize("text", CRON)
def test_words_become_a_cron_expression(text):
    assert read_when(text) == When(cron=CRON[text])


@pytest.mark.parametrize("text", EVERY)
def test_words_become_an_interval(text):
    assert read_when(text) == When(every_seconds=EVERY[text])


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_cannot_be_understood_is_explained(text):
    with pytest.raises(ConfigurationError, match=WRONG[text]):
        read_when(text)


def test_only_texts_are_understood():
    with pytest.raises(ConfigurationError):
        read_when(15)
