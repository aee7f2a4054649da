"""Everything that knows LiveKit: jobs for rooms, and ingress and egress as participants of a room.

Only a process that serves rooms imports the modules with the SDK. `settings.py` and `identities.py` need no SDK.
"""

import warnings

# `livekit-server --dev` has the secret `secret`; the server itself warns that this is too short for production.
warnings.filterwarnings("ignore", message="The HMAC key is .* below the minimum")
