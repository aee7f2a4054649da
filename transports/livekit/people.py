"""Which person in a room is the caller.

The caller is the person who was first to open a microphone, for as long as they are in the room. Then another person
with an open microphone becomes the caller. Ingress and egress join the room separately and follow the same rule.
"""

from livekit import rtc

HUMAN = frozenset(
    {
        rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
    }
)


def is_human(participant: rtc.Participant) -> bool:
    """Return False for an agent, a recorder, or a stream that is fed into the room."""
    return participant.kind in HUMAN


def is_present(participant: rtc.Participant) -> bool:
    """Return whether the person is connected, not only announced, and can therefore hear."""
    return is_human(participant) and participant.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE


def is_microphone(publication: rtc.TrackPublication) -> bool:
    """Return whether the track is a microphone; False for the sound of a shared screen."""
    return publication.kind == rtc.TrackKind.KIND_AUDIO and publication.source == rtc.TrackSource.SOURCE_MICROPHONE


def microphone(participant: rtc.RemoteParticipant) -> rtc.RemoteTrackPublication | None:
    """Return the newest microphone: a client that changes the device opens the new one before it closes the old."""
    open_now = [publication for publication in participant.track_publications.values() if is_microphone(publication)]
    return open_now[-1] if open_now else None


class People:
    """The people of one room. identity: the caller's, "" while no person has opened a microphone."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self.identity = ""

    @property
    def present(self) -> list[rtc.RemoteParticipant]:
        """The people who are connected."""
        return [person for person in self._room.remote_participants.values() if is_present(person)]

    @property
    def caller(self) -> rtc.RemoteParticipant | None:
        """The caller; if the last one has left, the person with a microphone who entered first."""
        here = {person.identity: person for person in self._room.remote_participants.values() if is_human(person)}
        if self.identity not in here:
            speakers = [person for person in here.values() if microphone(person)]
            self.identity = min(speakers, key=_arrival).identity if speakers else ""
        return here.get(self.identity)


def _arrival(person: rtc.Participant) -> tuple[float, str]:
    return (person.joined_at.timestamp() if person.joined_at else 0.0, person.identity)
