"""`knell demo`: the whole system against the lab's stand-ins, a story that breaks it, and a page to watch.

cast      the events, and where each belongs
chapters  the story
stage     lab, system and store, for as long as the demo runs
ledger    what was told, and what has arrived
reporter  what happens, in one line each
terminal  prints the lines; `hub` and `page` show them to browsers
show      plays it all, and says how it ended
"""
