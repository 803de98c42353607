#include "room.h"

void room_look(struct room *room, int64_t now_us, int64_t queue_us, bool queued, unsigned inside_max)
{
    int64_t passed_us = now_us - room->looked_us;
    unsigned least = ROOM_MIN < inside_max ? ROOM_MIN : inside_max;

    if (passed_us > ROOM_FORGOTTEN * queue_us)
        room->bound = inside_max;
    else if (queued)
        room->bound = (unsigned)((int64_t)room->answered * queue_us / passed_us);
    else if (room->bound < inside_max)
        room->bound += room->bound / 4 + 1;
    if (room->bound < least)
        room->bound = least;
    room->answered = 0;
    room->looked_us = now_us;
}
