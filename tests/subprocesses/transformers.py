"""In the place of transformers in the processes that tests start.

Only the tests' packages bring it. mmengine imports it where it is, which takes two seconds.
"""

raise ImportError('tests start scripts as users do: without transformers')
