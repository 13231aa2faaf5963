"""Whether the part in this container is healthy: asks HEALTH_URL, on loopback, and exits with 1 and the reason if not.

The images hold no curl. It runs every few seconds, so it imports no more than it needs.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

WITHIN_S = 4.0


def problem(url: str) -> str:
    """Empty when the address answers 200, else why not."""
    # The certificate is made out to the name that others use; here only this container's own API is asked.
    secured = ssl._create_unverified_context() if url.startswith("https:") else None
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if secured is not None:
        handlers.append(urllib.request.HTTPSHandler(context=secured))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=WITHIN_S) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code} {error.read(2000).decode('utf-8', 'replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"
    return "" if status == 200 else f"{url}: {status}"


if __name__ == "__main__":
    sys.exit(problem(os.environ.get("HEALTH_URL", "http://127.0.0.1:9101/healthz")) or 0)
