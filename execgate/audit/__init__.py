"""`execgate audit`: holds what clients recorded against a publisher's journal: for every update one fate.

    journal (its view `history`) -> truth -> books (one client at a time) <- records (JSON lines of clients)

Only `app` and `journal` touch files. Whoever writes records (the chaos run's crowd) uses `records` and `chain`.
"""
