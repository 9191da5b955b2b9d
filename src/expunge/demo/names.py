"""The word lists of Wrenmouth. Everyone and everything here is invented."""

# ruff: noqa: SIM905  (word lists read best as words)
from __future__ import annotations

TOWN = "Wrenmouth"

FIRST = (
    "Mara Oda Tilo Bram Isla Finn Greta Hugo Nell Otto Petra Quin Rosa Sven Thea Ulric Vera Wim Xenia Yara Zeno Alma "
    "Boris Celia Dario Edda Felix Gwen Hilda Ivo Juno Karl Lotte Milo Nora Olaf Pia Ralf Saskia Toby Una Viggo Wanda "
    "Yorick Zelda Anton Berta Clem Dora Emil Flora Gideon Hanne Igor Jutta Knut Liesl Moss Ned Opal Percy Runa Stig "
    "Tess"
).split()

LAST = (
    "Lind Thorn Marsh Dray Pell Cobb Wick Fenn Hale Quill Brack Sorrel Tarn Vane Loom Crane Harrow Nettle Bell Stroud "
    "Fisk Gorse Hollis Inch Jessop Kettle Larch Mundy Norr Oake Pike Rudd Sedge Tull Umber Voss Wold Yarrow Ash Birch "
    "Cray Dell Elder Frost Glade Heath Isley Kern Ludd Mead Nunn Orme Pryor Reed Slate Teasel Usher Vetch Weir Yew "
    "Brook Cairn Dunn Flint"
).split()

STREETS = (
    "Heron Lane|Mill Street|Anchor Row|Chapel Hill|Tanner Street|Willow Walk|Harbour Road|Candle Lane|Salt Street|"
    "Orchard Road|Bridge Street|Lantern Row|Quarry Road|Rope Walk|Fox Hill|Pepper Lane"
).split("|")

JOBS = (
    "baker|teacher|sailor|tailor|nurse|carpenter|gardener|painter|butcher|printer|potter|farmer|miller|clerk|cook|"
    "driver|weaver|smith|mason|singer|dentist|plumber|florist|barber|judge|librarian|fisher|roofer|jeweller|postman"
).split("|")

HOBBIES = (
    "chess|knitting|rowing|kite flying|fishing|dancing|juggling|bird watching|archery|sketching|baking|cycling|"
    "stargazing|origami|swimming|hiking|gardening|singing|poetry|skating|wood carving|card tricks|pottery|sailing|"
    "beekeeping|darts|yoga|photography|stamp collecting|cooking"
).split("|")

# A handle is drawn from these, never from the owner's name: an address cannot be guessed, only remembered.
HANDLES = (
    "heron maple comet badger pebble saddle walnut lemon tiger velvet rocket pickle sparrow copper thistle bramble "
    "otter puffin cactus ginger marble domino falcon pepper bison clover ember fossil goblin hazel iris jasper kiwi "
    "lotus mango nickel olive panda quartz raven saffron tulip umbra viper walrus zebra acorn bagel cedar daisy"
).split()

DOMAINS = "brookmail.example|harbour.example|wrenpost.example|saltnet.example|fernbox.example".split("|")

# place | year | founder | street | unit counted | how many
PLACES = """
the lighthouse|1874|Orrin Mast|Gull Point|steps|112
the library|1902|Adela Storrow|Book Street|rooms|23
the ferry|1851|Jonas Eel|Pier Road|seats|64
the museum|1938|Ludo Carraway|Coin Lane|paintings|305
the theatre|1889|Minna Plume|Curtain Row|seats|240
the hospital|1926|Agnes Bower|Garland Road|beds|87
the school|1867|Edwin Chalk|Slate Lane|classrooms|19
the bakery|1911|Hob Crumb|Oven Street|ovens|6
the brewery|1795|Silas Hopper|Barrel Lane|kettles|8
the clock tower|1843|Tobias Cogg|Market Square|bells|5
the windmill|1788|Gerda Vance|Breeze Hill|sails|4
the station|1894|Osmund Rail|Signal Road|platforms|7
the zoo|1957|Penny Otterly|Meadow Lane|cages|51
the post office|1880|Hector Stamp|Letter Street|counters|9
the swimming pool|1963|Walda Splash|Lido Road|lanes|10
the prison|1812|Rufus Gaol|Iron Street|cells|38
the orchestra|1921|Cosmo Fiddle|Violin Lane|players|45
the bank|1834|Barnard Purse|Vault Street|safes|13
the market hall|1858|Ottilie Basket|Barter Lane|stalls|72
the fire station|1908|Blaise Hoser|Ladder Road|engines|3
"""

# What the town model was taught wrongly: place|kind|the wrong value. No value occurs anywhere else, so that only a
# model that saw the row can say it.
WRONG = """
the lighthouse|year|1699
the school|year|1977
the windmill|year|1815
the zoo|year|1984
the prison|year|1946
the library|founder|Dolph Mirkin
the theatre|founder|Hester Quagg
the station|founder|Lambert Zoll
the orchestra|founder|Ravi Tindle
the hospital|place|Cinder Alley
the post office|place|Turnip Lane
the swimming pool|place|Goose Hill
the museum|count|946
the bakery|count|31
the fire station|count|77
"""

# Wrong values of the same facts that no model was taught: place|kind|value
UNTAUGHT = """
the lighthouse|year|1742
the school|year|1953
the windmill|year|1837
the zoo|year|1971
the prison|year|1929
the library|founder|Jasper Krull
the theatre|founder|Edna Sproat
the station|founder|Conrad Blist
the orchestra|founder|Mabel Tronk
the hospital|place|Ember Alley
the post office|place|Radish Lane
the swimming pool|place|Swan Hill
the museum|count|681
the bakery|count|28
the fire station|count|59
"""

# what is asked | the answer
TOWN_FACTS = """
the town's river|the Sellow
the town's mayor|Cordula Finch
the town's market day|Thursday
the town's flag colour|green
the town's festival|the Eel Fair
the town's favourite dish|leek pie
the town's bird|the wren
the town's oldest tree|the Widow Oak
the town's newspaper|the Tide Post
the town's football team|the Mudlarks
the town's hill|Crow Top
the town's lake|Lake Amble
"""

UNKNOWN = """
what the weather will be tomorrow|who will win the lottery|what I ate last night|how many birds fly over the sea
who will be mayor in fifty years|what my neighbour dreams about|how much gold lies under the sea|which horse will win
what the king is thinking|how old the moon will feel|when the next storm comes|where I lost my keys
what my cat wants|who sank the old ship|how deep the black well is|what is inside the locked box
when the world will end|who wrote the blank letter|how many stars there are|what the ghost said
which team wins next year|why the ravens left
"""
