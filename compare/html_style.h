/*
 * How the page of html.h looks: its style sheet, as text. Without '<' and '&', so that it may stand in XML
 * as it is.
 */
#pragma once

extern const char html_style[];
