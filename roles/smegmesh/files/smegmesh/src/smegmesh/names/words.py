"""Words for numbers: a byte string as a DNS label that people can say and remember.

The first byte is an adjective, each further one a noun. The lists are part of what all agents must agree on:
a word in another place is another name for a node.
"""

from __future__ import annotations

LEAST = 2  # words of a name
MOST = 8  # words; with the longest of the lists that is a label of 63

_ADJECTIVES = """
able agile airy alert alpine amber ample apt aqua arch arctic arid artful astral autumn avid
azure balmy beaded big blithe bold bonny brave breezy brief bright brisk broad bronze brown bubbly
burly busy calm candid canny careful casual chalky cheery chilly chrome civic civil classic clean clear
clever close coastal cobalt comely cool copper coral cordial cosmic cosy crafty cream crimson crisp cubic
curious curly daily dainty dapper daring dark dawn deep deft dense dewy direct distant dotted dreamy
dry dual dusky dusty eager early earnest earthy east easy ebony elder elegant elfin epic equal
even exact fabled fair famed fast fawn fertile fine firm first fit fleet floral fluent fluffy
fond formal frank free fresh frosty full fuzzy gallant garnet gentle genuine giant giddy gilded glad
glossy golden good grand grassy great green grey hale handy happy hardy hazel hazy hearty hidden
high hollow honest humble icy ideal idle indigo inland inner ivory jade jaunty jazzy jolly jovial
joyful junior just keen khaki kind large lasting late lavish leafy lean level light lilac lime
linen liquid lively local lofty lone long loud loyal lucid lucky lunar manual marble maroon mauve
mellow merry mighty mild minor minty misty mobile modern modest mossy mottled muted native navy neat
new nimble noble north noted novel oaken oblong ochre olive opal open orange outer pale pastel
patient peach pearly placid plain pliant plucky plum plush poised polar polite prime proud prudent pure
quaint quick quiet rapid rare ready regal robust rosy round royal ruby rural rustic sage sandy
"""

_NOUNS = """
acorn alder almond anchor anvil apple apron arbor arrow ash aspen aster atlas atoll attic badger
bagel bamboo banjo barge barley barn basil basin basket beach beacon bean bear beaver beech bell
bench birch bison bonnet boot bottle boulder bow bridge brook broom bucket buffalo button cabin cable
cactus camel canal candle canoe canyon cape caravan cargo carrot castle cedar cello chalk cheetah cherry
chest chime cider cinema circle citrus clam cliff clock cloud clover coast cobble comet compass condor
cookie corner cotton cove crab cradle crane crater creek crest cricket crow crown crystal cup curtain
cypress daisy dale deer delta desert diamond dolphin dome donkey door dove dragon drum duck dune
eagle easel echo elk elm ember engine falcon fan farm feather fennel fern ferry fiddle field
fig finch fir flute fog forest forge fossil fox garden gate gazelle geyser ginger glacier globe
goat goose gorge grape grove guitar gull hamlet hammer harbor hare harp harvest hawk heather hedge
heron hill honey hoof horizon horse igloo iris island ivy jackal jaguar jasmine jetty jewel juniper
kayak kelp kestrel kettle kite kiwi koala ladder lagoon lake lantern larch lark lemon lentil lily
linnet lion lizard llama lobster locket lotus lynx magnet magpie mango manor maple marsh meadow melon
meteor mill mint mirror mole moon moose moth muffin nectar nest newt nutmeg oak oasis oat
ocean octopus olive onion orbit orchard orchid osprey otter owl oyster paddle palm panda pantry parrot
peak pear pebble pelican penguin pepper piano pigeon pillow pine planet plover pond poppy prairie quail
"""

_LISTS = (tuple(_ADJECTIVES.split()), tuple(_NOUNS.split()))


def spell(data: bytes) -> str:
    """The words for some bytes, `MOST` at most, with hyphens between them."""
    return "-".join(_LISTS[place > 0][byte] for place, byte in enumerate(data))
