"""A client that keeps its connections and asks again as HTTP clients do: `python asking.py URL`, until SIGINT.

Its report has wrk's words. A request is lost where its caller would hear of it: no answer after urllib3's own retries,
which it makes for GET where a connection ended before the answer began, or an answer other than 200."""

import signal
import sys
import threading

import urllib3

THREADS = 4


def main(url: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda signum, frame: stop.set())
    pool = urllib3.PoolManager(maxsize=THREADS, timeout=10.0)
    counts = [[0, 0] for _ in range(THREADS)]

    def ask(count: list[int]) -> None:
        while not stop.is_set():
            count[0] += 1
            try:
                count[1] += pool.request("GET", url).status != 200
            except urllib3.exceptions.HTTPError:
                count[1] += 1

    threads = [threading.Thread(target=ask, args=(count,)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    requests, lost = (sum(column) for column in zip(*counts, strict=True))
    print(f"{requests} requests in all\nSocket errors: connect 0, read {lost}, write 0, timeout 0")


if __name__ == "__main__":
    main(sys.argv[1])
